/** What a failed request says, in the words that clients and miners read: the same in every dialect. */
import { isStudioError } from '@studio/shared/domain/errors';
import type { Fault } from '@studio/shared/domain/blame';
import { EgressError } from '@studio/shared/platform/egress-error';
import { ResultRefused } from '../miner-result';
import type { MinerAnswer } from './dialect';

/** How the reason of an attempt begins whose miner wants nothing of the input: when all say so, the client hears it as its own mistake. */
export const INPUT_REFUSED = 'the miner refused the input';

type Ended = Extract<MinerAnswer, { type: 'ended' }>;

export function ended(state: Ended['state'], fault: Fault, reason: string): Ended {
  return { type: 'ended', state, fault, reason };
}

/** @throws what is no failure of a request: a bug of ours. */
export function failureOf(error: unknown, signal: AbortSignal): MinerAnswer {
  if (signal.aborted) return { type: 'abandoned' };
  if (error instanceof ResultRefused) return ended('invalid', 'miner', error.message);
  // The signature threads are overrun: nothing is known about the miner.
  if (isStudioError(error)) return ended('failed', 'ours', 'we could not compute a signature in time');
  if (!(error instanceof EgressError)) throw error;
  if (error.code === 'timeout') return ended('timeout', 'miner', 'no result within the time the task allows');
  const fault = error.blame === 'network' ? 'connection' : error.blame;
  return ended('failed', fault, REASONS[error.code] ?? 'the request was not made');
}

/** Without the endpoint: clients read these, and a miner's address is not theirs to know. */
const REASONS: Partial<Record<EgressError['code'], string>> = {
  'refused-address': 'the miner is registered at an address that may not be asked',
  'connect-failed': 'the miner could not be reached',
  'too-large': 'the result is larger than this task can have',
  'bad-encoding': 'the miner sent an encoded reply although identity was asked for',
  'bad-reply': 'the miner did not answer in HTTP',
  'bad-certificate': "the miner's certificate is not valid for its name",
  overloaded: 'too many requests to this miner are under way from us',
  network: 'the connection to the miner broke',
  aborted: 'the request was given up',
};

/** Of a header that may come once; a repeated one counts as its first value. */
export function headerText(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  name: string,
): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
