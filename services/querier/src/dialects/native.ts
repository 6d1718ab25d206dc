/** The native miner contract, v1, as the one who asks. */
import type { MinerInferenceInput, MinerJobRequest, MinerTrainingInput } from '@studio/shared/contract/miner-job';
import type { ArtifactRef, InferenceInput, JobInput, JobKind, TrainingInput } from '@studio/shared/domain/job';
import type { Egress, EgressReply } from '@studio/shared/platform/egress';
import { EgressError } from '@studio/shared/platform/egress-error';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import type { ArtifactUrls } from '../artifact-urls';
import { callbackSecret } from '../callback-secret';
import type { ClaimedJob } from '../dispatch.store';
import { expectedFiles, maxResultBytes, readMinerResult, ResultRefused } from '../miner-result';
import type { CallbackContent, CallbackMessage, Dialect, Dispatch, MinerAnswer } from './dialect';

/** A cancelled job costs the miner only; nobody waits for its answer. */
const CANCEL_MS = 3_000;
const CANCEL_BYTES = 16 * 1024;

export class NativeDialect implements Dialect {
  readonly name = 'native';
  readonly probePath = '/v1/health';

  constructor(
    private readonly egress: Egress,
    private readonly urls: ArtifactUrls,
    private readonly options: { publicUrl: string; urlSecret: string },
  ) {}

  canExpress(): boolean {
    return true;
  }

  async dispatch({ job, attemptNo, miner: { endpoint }, deadlineMs, signal }: Dispatch): Promise<MinerAnswer> {
    const expected = expectedFiles(job.kind, job.engine, job.input);
    const startMs = performance.now();
    try {
      const reply = await this.egress.request({
        url: minerUrl(endpoint, '/v1/jobs'),
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(this.request(job, attemptNo)),
        deadlineMs,
        // A miner that answers 200 sends its head when the work is done.
        headersMs: deadlineMs,
        maxBytes: maxResultBytes(expected),
        signal,
      });
      if (reply.status !== 200) return withoutResult(reply);
      const result = await readMinerResult(reply.body, contentType(reply), expected);
      const span = { startMs, endMs: performance.now() };
      return { type: 'result', result, receipt: null, span, freshConnection: reply.freshConnection };
    } catch (error) {
      return failureOf(error, signal);
    }
  }

  async cancel({ endpoint }: RoutableMiner, jobId: string): Promise<void> {
    try {
      const url = minerUrl(endpoint, `/v1/jobs/${jobId}`);
      const reply = await this.egress.request({ url, method: 'DELETE', deadlineMs: CANCEL_MS, maxBytes: CANCEL_BYTES });
      reply.discard();
    } catch {
      // The result of a cancelled job is refused anyway.
    }
  }

  async readCallback({ target, headers, body }: CallbackMessage): Promise<CallbackContent> {
    const expected = expectedFiles(target.kind, target.engine, target.input);
    const type = headers['content-type'];
    const result = await readMinerResult(body, Array.isArray(type) ? type[0] : type, expected);
    return { result, receipt: null };
  }

  private request(job: ClaimedJob, attemptNo: number): MinerJobRequest {
    const { publicUrl, urlSecret } = this.options;
    return {
      job_id: job.id,
      attempt: attemptNo,
      kind: job.kind,
      engine: job.engine,
      input: this.minerInput(job.kind, job.input),
      timeout_ms: job.timeoutMs,
      callback: {
        url: `${publicUrl.replace(/\/+$/, '')}/miners/callback/${job.id}/${attemptNo}`,
        secret: callbackSecret(urlSecret, job.id, attemptNo),
      },
    };
  }

  private minerInput(kind: JobKind, input: JobInput): MinerTrainingInput | MinerInferenceInput {
    const file = ({ sha256, bytes }: ArtifactRef) => ({ url: this.urls.sign(sha256), sha256, bytes });
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
  if (reply.status === 429) return { type: 'ended', state: 'busy', fault: 'none', reason: 'the miner was busy' };
  return { type: 'ended', state: 'failed', fault: 'miner', reason: `the miner answered HTTP ${reply.status}` };
}

function failureOf(error: unknown, signal: AbortSignal): MinerAnswer {
  if (signal.aborted) return { type: 'abandoned' };
  if (error instanceof ResultRefused) return { type: 'ended', state: 'invalid', fault: 'miner', reason: error.message };
  if (!(error instanceof EgressError)) throw error;
  if (error.code === 'timeout') {
    return { type: 'ended', state: 'timeout', fault: 'miner', reason: 'no result within the time the task allows' };
  }
  const fault = error.code === 'connect-failed' || error.code === 'network' ? 'connection' : 'miner';
  return { type: 'ended', state: 'failed', fault, reason: REASONS[error.code] };
}

/** Without the endpoint: clients read these, and a miner's address is not theirs to know. */
const REASONS: Record<Exclude<EgressError['code'], 'timeout'>, string> = {
  'refused-address': 'the miner is registered at an address that may not be asked',
  'connect-failed': 'the miner could not be reached',
  'too-large': 'the result is larger than this task can have',
  'bad-encoding': 'the miner sent an encoded reply although identity was asked for',
  network: 'the connection to the miner broke',
  aborted: 'the request was given up',
};

function contentType({ headers }: EgressReply): string | undefined {
  const value = headers['content-type'];
  return Array.isArray(value) ? value[0] : value;
}

function minerUrl(endpoint: string, path: string): string {
  return `${endpoint.replace(/\/+$/, '')}${path}`;
}
