/** All that a miner can know about a request for work, as numbers: values, lengths, repetitions, times, connections. */
import type { MinerJobRequest } from '@studio/shared/contract/miner-job';
import type { AskedJob, CapturedMiner, Download } from './captured-miner';
import { headerNames, takeApart, type TakenApart } from './request-form';
import type { Observation } from './telling-apart';
import { targetOf, type Exchange } from './wire-tap';

export interface Window {
  fromMs: number;
  toMs: number;
}

/**
 * Parts of a run that are compared within themselves: what changes in the course of it, such as the number of requests on a
 * connection, or a busy moment of the machine, is then the same for both classes.
 */
const PARTS = 8;
/** The attack learns and is tried in turns of this length: longer than most of what one moment has in common. */
const TURN_MS = 2_000;
/** In place of a time or number that there is not. */
const NONE = -1;

interface Seen {
  miner: CapturedMiner;
  job: AskedJob;
  taken: TakenApart;
  download: Download;
  callback: Exchange | undefined;
}

/**
 * @param callbacks what came to our own door.
 * @param audits ids of the jobs that are replays: from the auditor's own table, and known to nobody else.
 */
export async function observe(
  miners: readonly CapturedMiner[],
  callbacks: readonly Exchange[],
  audits: ReadonlySet<string>,
  window: Window,
): Promise<Observation[]> {
  const callbackOf = new Map(callbacks.map((exchange) => [targetOf(exchange).replace(/^.*callback/, ''), exchange]));
  const observations: Observation[] = [];
  for (const miner of miners) {
    const seen: Seen[] = [];
    for (const job of [...miner.asked]) {
      const { job_id, attempt } = job.request;
      const callback = callbackOf.get(`/${job_id}/${attempt}`);
      seen.push({ miner, job, taken: takeApart(job.exchange), download: await job.download, callback });
    }
    observations.push(...observeOne(seen, audits, window));
  }
  return observations;
}

function observeOne(seen: readonly Seen[], audits: ReadonlySet<string>, { fromMs, toMs }: Window): Observation[] {
  const before = new Map<string, number>();
  return seen.flatMap((each, index) => {
    const { exchange, request } = each.job;
    const repeated = repetitions(each, before);
    if (exchange.arrivedMs < fromMs || exchange.arrivedMs > toMs) return [];
    const sinceMs = exchange.arrivedMs - fromMs;
    const part = Math.floor((sinceMs / (toMs - fromMs + 1)) * PARTS);
    return {
      isAudit: audits.has(request.job_id),
      stratum: `${request.kind} ${part}`,
      half: Math.floor(sinceMs / TURN_MS) % 2 === 0 ? 0 : 1,
      form: each.taken.form,
      replies: repliesOf(each),
      facts: {
        ...valueFacts(each),
        ...repeated,
        ...timeFacts(seen, index),
        ...lineFacts(exchange),
        ...aftermath(each),
      },
    } satisfies Observation;
  });
}

/** How its input is served, and how a callback is answered: everything but values, by what it is and its status. */
function repliesOf({ download, callback }: Seen): Record<string, string> {
  const served = download.rawHeaders.filter((_, index) => index % 2 === 0).join('|');
  const answered = callback?.reply && {
    [`callback ${statusOf(callback.reply.head)}`]: headerNames(callback.reply.head),
  };
  return { [`input ${download.status}`]: served, ...answered };
}

const statusOf = (head: string): number => Number(head.split(' ', 2)[1]);

/** Numbers as they are; of text its length, and of what looks random its last bits. */
function valueFacts({ taken: { values }, job }: Seen): Record<string, number> {
  const facts: Record<string, number> = {};
  for (const [name, value] of values) {
    if (typeof value === 'number') facts[name] = value;
    else {
      facts[`length of ${name}`] = value.length;
      const bits = /[0-9a-f]{4}([0-9a-f]{8})$/.exec(value)?.[1];
      if (bits !== undefined && !/^\d+$/.test(value)) facts[`bits of ${name}`] = parseInt(bits, 16);
    }
  }
  facts['bytes of the head'] = job.exchange.head.length;
  facts['bytes of the body'] = job.exchange.body.length;
  return facts;
}

/** Whether this miner was sent the same before, for every value that is text, for the seed, and for the whole input. */
function repetitions(
  { taken: { values }, job: { request } }: Seen,
  before: Map<string, number>,
): Record<string, number> {
  const facts: Record<string, number> = {};
  const note = (name: string, value: unknown): number => {
    const key = `${name} ${String(value)}`;
    const times = before.get(key) ?? 0;
    before.set(key, times + 1);
    facts[`${name} came before`] = Math.min(times, 1);
    return times;
  };
  for (const [name, value] of values) if (typeof value === 'string' || name === 'input.seed') note(name, value);
  note('the input', inputKey(request));
  return facts;
}

/** The same for the same work. */
export function inputKey({ kind, input }: MinerJobRequest): string {
  const { url: _, ...file } = 'image' in input ? input.image : input.lora;
  return JSON.stringify([kind, { ...input, image: undefined, lora: undefined }, file]);
}

/** When the job was made, signed, sent, and how that lies among the miner's other work. */
function timeFacts(seen: readonly Seen[], index: number): Record<string, number> {
  const { job, taken } = seen[index]!;
  const { arrivedMs } = job.exchange;
  const madeMs = madeAtMs(job.request);
  const [previous, next] = [seen[index - 1], seen[index + 1]];
  const ends = seen.map(endMs).filter((end) => end !== undefined && end <= arrivedMs) as number[];
  const { url } = 'image' in job.request.input ? job.request.input.image : job.request.input.lora;
  return {
    'made → asked': arrivedMs - madeMs,
    'signed → asked': arrivedMs - Number(taken.values.get('header.x-studio-timestamp')),
    'made in its second': madeMs % 1_000,
    'asked in its second': arrivedMs % 1_000,
    'previous request → asked': previous ? arrivedMs - previous.job.exchange.arrivedMs : NONE,
    'asked → next request': next ? next.job.exchange.arrivedMs - arrivedMs : NONE,
    'previous made → made': previous ? madeMs - madeAtMs(previous.job.request) : NONE,
    'own last result → made': ends.length > 0 ? madeMs - Math.max(...ends) : NONE,
    'own last result → asked': ends.length > 0 ? arrivedMs - Math.max(...ends) : NONE,
    'under way here': index - seen.slice(0, index).filter((each) => (endMs(each) ?? 0) <= arrivedMs).length,
    'the link lives': Number(new URL(url).searchParams.get('expires')) * 1_000 - arrivedMs,
  };
}

/** When the miner is done with it: its reply is out, or its callback is answered. */
function endMs({ job: { exchange }, callback }: Seen): number | undefined {
  return callback?.reply?.endMs ?? exchange.reply?.endMs;
}

/** The first 48 bits of a UUIDv7. */
function madeAtMs({ job_id }: MinerJobRequest): number {
  return parseInt(job_id.replace('-', '').slice(0, 12), 16);
}

function lineFacts({ place, openedMs, arrivedMs, idleSinceMs, lines, pieces }: Exchange): Record<string, number> {
  return {
    'requests on the connection': place,
    'age of the connection': arrivedMs - openedMs,
    'pause of the connection': arrivedMs - idleSinceMs,
    'open connections': lines,
    'pieces of the request': pieces,
  };
}

/** What followed: the input as it was served, the callback's answer, whether the job was taken back or asked again. */
function aftermath({ miner, job: { request }, download, callback }: Seen): Record<string, number> {
  const isSame = (other: AskedJob): boolean => other.request.job_id === request.job_id;
  return {
    'input status': download.status,
    'bytes of the input as served': download.bytes,
    'time to fetch the input': download.tookMs,
    'time to answer the callback': callback?.reply ? callback.reply.endMs - callback.arrivedMs : NONE,
    'callback status': callback?.reply ? statusOf(callback.reply.head) : NONE,
    'taken back': miner.cancels.filter((exchange) => targetOf(exchange).includes(request.job_id)).length,
    'times asked': miner.asked.filter(isSame).length,
  };
}
