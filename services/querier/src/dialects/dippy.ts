/**
 * The dialect of the existing Dippy Studio miners (their public HTTP contract of late 2025): one inference to
 * `POST /inference`, signed by Epistula; the picture comes by callback. Their replies carry no signature, so there is no
 * receipt, and they cannot be told to stop.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import type { InferenceInput, JobInput, JobKind } from '@studio/shared/domain/job';
import type { Egress, EgressReply } from '@studio/shared/platform/egress';
import { EgressError } from '@studio/shared/platform/egress-error';
import { unsignedEpistula } from '@studio/shared/protocol/epistula';
import type { Signer } from '@studio/shared/protocol/hotkey';
import { signWith } from '@studio/shared/protocol/signatures';
import { randomUUID } from 'node:crypto';
import type { ArtifactUrls } from '../artifact-urls';
import { callbackSecret } from '../callback-secret';
import { expectedFiles, maxResultBytes } from '../miner-result';
import { storable } from '../sql';
import { ended, failureOf, headerText, INPUT_REFUSED } from './answers';
import type { CallbackContent, CallbackMessage, Dialect, Dispatch, MinerAnswer } from './dialect';
import { readDippyCallback } from './dippy-callback';
import { canBeDippy, dippyJobId, dippyRequest } from './dippy-job';
import { callbackUrl, minerUrl } from './miner-urls';
import { WatchedBody } from './watched-body';

/** Their proxy gives up on its model server after 10 s and then answers 202. */
const ANSWER_MS = 15_000;
/** security.md: JSON. */
const MAX_REPLY_BYTES = 256 * 1024;
/** Of their own words in a reason. */
const MAX_DETAIL = 200;

export interface DippyParts {
  egress: Egress;
  urls: ArtifactUrls;
  signer: Signer;
  publicUrl: string;
  urlSecret: string;
  /** How long a miner may take to say whether it takes a job; replaced by tests. */
  answerMs?: number;
}

export class DippyDialect implements Dialect {
  readonly name = 'dippy';
  readonly probePath = '/';

  constructor(private readonly parts: DippyParts) {}

  canExpress(kind: JobKind, input: JobInput): boolean {
    return canBeDippy(kind, input);
  }

  async dispatch(dispatch: Dispatch): Promise<MinerAnswer> {
    const { miner, deadlineMs, signal } = dispatch;
    const { answerMs: patienceMs = ANSWER_MS } = this.parts;
    try {
      const body = this.request(dispatch);
      const answerMs = Math.min(deadlineMs, patienceMs);
      const reply = await this.parts.egress.request({
        url: minerUrl(miner.endpoint, '/inference').href,
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(await this.sign(body, miner.hotkey)) },
        body,
        deadlineMs: answerMs,
        headersMs: answerMs,
        maxBytes: MAX_REPLY_BYTES,
        signal,
      });
      return await answerOf(reply);
    } catch (error) {
      const isSilent = error instanceof EgressError && error.code === 'timeout' && deadlineMs > patienceMs;
      if (isSilent && !signal.aborted) return ended('timeout', 'miner', silent(patienceMs));
      return failureOf(error, signal);
    }
  }

  /** They have no route for it. */
  async cancel(_miner: RoutableMiner, _jobId: string): Promise<void> {}

  /** Nothing of it is signed: the attempt's secret, compared before, is all that says who sends it. */
  async readCallback({ target, headers, body }: CallbackMessage): Promise<CallbackContent> {
    const { jobId, attemptNo, kind, engine, input } = target;
    const files = expectedFiles(kind, engine, input);
    const watched = new WatchedBody(body, maxResultBytes(files));
    const result = await readDippyCallback(watched, headerText(headers, 'content-type'), {
      jobId,
      attemptNo,
      dippyId: dippyJobId(this.parts.urlSecret, jobId, attemptNo),
      maxImageBytes: files.maxBytesEach,
    });
    return { result, receipt: null, endMs: watched.endMs };
  }

  /** Compact JSON; exactly these bytes are signed and sent. */
  private request({ job, attemptNo, deadlineMs }: Dispatch): string {
    const { urls, publicUrl, urlSecret } = this.parts;
    const input = job.input as InferenceInput;
    return JSON.stringify(
      dippyRequest({
        input,
        jobId: dippyJobId(urlSecret, job.id, attemptNo),
        loraUrl: urls.sign(input.lora.sha256),
        callbackUrl: callbackUrl(publicUrl, job.id, attemptNo).href,
        callbackSecret: callbackSecret(urlSecret, job.id, attemptNo),
        expiresAtMs: Date.now() + deadlineMs,
      }),
    );
  }

  private sign(body: string, recipient: string): Promise<Record<string, string>> {
    const request = { body, nowMs: Date.now(), nonce: randomUUID(), recipient };
    return signWith(unsignedEpistula('epistula-dippy', request, this.parts.signer.address), this.parts.signer);
  }
}

function silent(patienceMs: number): string {
  return `the miner did not say within ${patienceMs / 1_000} s whether it takes the job`;
}

async function answerOf(reply: EgressReply): Promise<MinerAnswer> {
  const { status } = reply;
  // 409: our own earlier send of this attempt is under way, and calls back.
  if (status === 200 || status === 202 || status === 409) {
    await detailOf(reply);
    return { type: 'accepted' };
  }
  const detail = await detailOf(reply);
  if (status === 503 || status === 429) return ended('busy', 'none', `the miner cannot take it now${detail}`);
  return ended('failed', 'miner', `${REASONS[status] ?? 'the miner refused the job'} (HTTP ${status})${detail}`);
}

const REASONS: Partial<Record<number, string>> = {
  401: 'the miner refused our signature',
  403: 'the miner does not let us in: it has to allow the orchestrator as a sender',
  422: `${INPUT_REFUSED}: a field that its contract allows`,
  500: "the miner's model server failed",
  502: "the miner's model server failed",
  504: "the miner's model server failed",
};

/** `: their own words`, safe to store; empty where they are none. Reading them also frees the connection for the next. */
async function detailOf(reply: EgressReply): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of reply.body) chunks.push(chunk);
    const { detail } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { detail?: unknown };
    if (detail === undefined) return '';
    return `: ${storable(typeof detail === 'string' ? detail : JSON.stringify(detail), MAX_DETAIL)}`;
  } catch {
    // The status alone has said it.
    return '';
  }
}
