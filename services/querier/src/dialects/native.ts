/** The native miner contract, v1, as the one who asks. */
import type { MinerInferenceInput, MinerJobRequest, MinerTrainingInput } from '@studio/shared/contract/miner-job';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { StudioError } from '@studio/shared/domain/errors';
import type { ArtifactRef, InferenceInput, JobInput, JobKind, TrainingInput } from '@studio/shared/domain/job';
import type { Egress, EgressReply } from '@studio/shared/platform/egress';
import type { Signer, Verifier } from '@studio/shared/protocol/hotkey';
import type { ArtifactUrls } from '../artifact-urls';
import { callbackSecret } from '../callback-secret';
import type { ClaimedJob } from '../dispatch.store';
import { expectedFiles, maxResultBytes, readMinerResult, ResultRefused, type ExpectedFiles } from '../miner-result';
import { ended, failureOf, headerText, INPUT_REFUSED } from './answers';
import type { CallbackContent, CallbackMessage, Dialect, Dispatch, MinerAnswer } from './dialect';
import { callbackUrl, minerUrl } from './miner-urls';
import { NativeSignatures } from './native-signatures';
import { WatchedBody } from './watched-body';

/** A cancelled job costs the miner only; nobody waits for its answer. */
const CANCEL_MS = 3_000;
const CANCEL_BYTES = 16 * 1024;

export interface NativeParts {
  egress: Egress;
  urls: ArtifactUrls;
  signer: Signer;
  verifier: Verifier;
  publicUrl: string;
  urlSecret: string;
}

interface Asked {
  reply: EgressReply;
  hotkey: string;
  nonce: string;
  startMs: number;
}

export class NativeDialect implements Dialect {
  readonly name = 'native';
  readonly probePath = '/v1/health';
  private readonly signatures: NativeSignatures;

  constructor(private readonly parts: NativeParts) {
    this.signatures = new NativeSignatures(parts.signer, parts.verifier);
  }

  canExpress(): boolean {
    return true;
  }

  async dispatch({ job, attemptNo, miner, deadlineMs, signal }: Dispatch): Promise<MinerAnswer> {
    const expected = expectedFiles(job.kind, job.engine, job.input);
    try {
      const url = minerUrl(miner.endpoint, '/v1/jobs');
      const body = JSON.stringify(this.request(job, attemptNo));
      const { nonce, headers } = await this.signatures.request('POST', url, body, miner.hotkey);
      const startMs = performance.now();
      const reply = await this.parts.egress.request({
        url: url.href,
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
        deadlineMs,
        // A miner that answers 200 sends its head when the work is done.
        headersMs: deadlineMs,
        maxBytes: maxResultBytes(expected),
        signal,
      });
      if (reply.status !== 200) return withoutResult(reply);
      return await this.readResult({ reply, hotkey: miner.hotkey, nonce, startMs }, expected);
    } catch (error) {
      return failureOf(error, signal);
    }
  }

  async cancel({ endpoint, hotkey }: RoutableMiner, jobId: string): Promise<void> {
    try {
      const url = minerUrl(endpoint, `/v1/jobs/${jobId}`);
      const { headers } = await this.signatures.request('DELETE', url, '', hotkey);
      const limits = { deadlineMs: CANCEL_MS, maxBytes: CANCEL_BYTES };
      const reply = await this.parts.egress.request({ url: url.href, method: 'DELETE', headers, ...limits });
      reply.discard();
    } catch {
      // The result of a cancelled job is refused anyway.
    }
  }

  /** The signature comes before the content: what somebody else has sent may not end the miner's attempt. */
  async readCallback({ target, headers, body }: CallbackMessage): Promise<CallbackContent> {
    const { jobId, attemptNo, hotkey } = target;
    const nowMs = Date.now();
    const expected = expectedFiles(target.kind, target.engine, target.input);
    const watched = new WatchedBody(body, maxResultBytes(expected));
    const result = await readMinerResult(watched, headerText(headers, 'content-type'), expected).catch(refusal);
    await watched.drain().catch(refusal);
    if (watched.overflowed) throw tooLarge(expected);
    const { endMs, sha256 } = watched;
    const url = callbackUrl(this.parts.publicUrl, jobId, attemptNo);
    const receipt = await this.signatures.callback({ headers, sha256, url, nowMs, hotkey });
    if (result instanceof ResultRefused) throw result;
    return { result, receipt, endMs };
  }

  /** The time ends with the last byte: our own verification costs the miner nothing. */
  private async readResult({ reply, hotkey, nonce, startMs }: Asked, expected: ExpectedFiles): Promise<MinerAnswer> {
    const { status, headers, freshConnection } = reply;
    try {
      const body = new WatchedBody(reply.body, maxResultBytes(expected));
      const result = await readMinerResult(body, headerText(headers, 'content-type'), expected);
      const span = { startMs, endMs: body.endMs };
      const receipt = await this.signatures.reply({ status, headers, sha256: body.sha256, nonce, hotkey });
      return { type: 'result', result, receipt, span, freshConnection };
    } catch (error) {
      // What was not read to its end would hold the connection until the deadline.
      reply.discard();
      throw error;
    }
  }

  private request(job: ClaimedJob, attemptNo: number): MinerJobRequest {
    const { publicUrl, urlSecret } = this.parts;
    return {
      job_id: job.id,
      attempt: attemptNo,
      kind: job.kind,
      engine: job.engine,
      input: this.minerInput(job.kind, job.input),
      timeout_ms: job.timeoutMs,
      callback: {
        url: callbackUrl(publicUrl, job.id, attemptNo).href,
        secret: callbackSecret(urlSecret, job.id, attemptNo),
      },
    };
  }

  private minerInput(kind: JobKind, input: JobInput): MinerTrainingInput | MinerInferenceInput {
    const file = ({ sha256, bytes }: ArtifactRef) => ({ url: this.parts.urls.sign(sha256), sha256, bytes });
    if (kind === 'lora-training') {
      const { image, resolution, steps, rank, seed } = input as TrainingInput;
      return { image: file(image), resolution, steps, rank, seed };
    }
    const { lora, prompt, width, height, seed, loraScale, warp, numImages } = input as InferenceInput;
    return { lora: file(lora), prompt, width, height, seed, lora_scale: loraScale, warp, num_images: numImages };
  }
}

function withoutResult(reply: EgressReply): MinerAnswer {
  reply.discard();
  if (reply.status === 202) return { type: 'accepted' };
  if (reply.status === 429) return ended('busy', 'none', 'the miner was busy');
  const what = reply.status === 422 ? `${INPUT_REFUSED} (HTTP 422)` : `the miner answered HTTP ${reply.status}`;
  return ended('failed', 'miner', what);
}

/** Kept for later; anything else was no fault of the content. */
function refusal(error: unknown): ResultRefused {
  if (error instanceof ResultRefused) return error;
  throw error;
}

/** Not a refusal of the attempt: a body that was not read to its end has no hash, so nobody knows who sent it. */
function tooLarge(expected: ExpectedFiles): StudioError {
  return new StudioError('BODY_TOO_LARGE', `this task's result has at most ${maxResultBytes(expected)} bytes`);
}
