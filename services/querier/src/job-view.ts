/** Rows as clients read them. */
import type { AttemptView, FileView, ImageView, JobView, ResultView } from '@studio/shared/contract/job-view';
import { StudioError, type ErrorCode } from '@studio/shared/domain/errors';
import type {
  ArtifactRef,
  AttemptProgress,
  ImageRef,
  InferenceResult,
  JobFailure,
  JobState,
  TrainingInput,
  TrainingResult,
} from '@studio/shared/domain/job';
import { isTerminal } from '@studio/shared/domain/job-state';
import type { ArtifactUrls } from './artifact-urls';
import type { Estimates } from './estimates';
import type { StoredAttempt, StoredJob } from './job.store';

export class JobViews {
  private readonly jobsUrl: string;

  constructor(
    publicUrl: string,
    private readonly urls: ArtifactUrls,
    private readonly estimates: Pick<Estimates, 'ofJob'>,
  ) {
    this.jobsUrl = `${publicUrl.replace(/\/+$/, '')}/v1/jobs`;
  }

  job(job: StoredJob): JobView {
    const status = `${this.jobsUrl}/${job.id}`;
    return {
      id: job.id,
      kind: job.kind,
      engine: job.engine,
      state: job.state,
      created_at: job.createdAt.toISOString(),
      deadline_at: job.deadlineAt.toISOString(),
      finished_at: job.finishedAt?.toISOString() ?? null,
      queue_position: job.queuePosition,
      eta: this.estimates.ofJob(job),
      failure: job.failure,
      attempts: job.attempts.map(attemptView),
      urls: { status, result: `${status}/result`, cancel: `${status}/cancel` },
    };
  }

  /** @throws StudioError NOT_FINISHED, JOB_FAILED, JOB_EXPIRED, JOB_CANCELLED */
  result({ id, state, input, result, failure }: StoredJob): ResultView {
    if (!isTerminal(state)) {
      throw new StudioError('NOT_FINISHED', `the job is ${state}: ask GET /v1/jobs/${id}?wait=25 until it is finished`);
    }
    if (!result) throw endOf(state, failure);
    const { seed } = input;
    if ('lora' in result) return { id, ...this.training(result, input as TrainingInput), seed };
    return { id, images: (result satisfies InferenceResult).images.map((image) => this.image(image)), seed };
  }

  file(ref: ArtifactRef): FileView {
    return { url: this.urls.sign(ref.sha256), sha256: ref.sha256, content_type: ref.contentType, file_size: ref.bytes };
  }

  private training({ lora }: TrainingResult, { image }: TrainingInput): Pick<ResultView, 'lora' | 'image'> {
    return { lora: this.file(lora), image: this.image(image) };
  }

  private image(ref: ImageRef): ImageView {
    return { ...this.file(ref), width: ref.width, height: ref.height };
  }
}

const END_CODES: Partial<Record<StoredJob['state'], ErrorCode>> = {
  expired: 'JOB_EXPIRED',
  cancelled: 'JOB_CANCELLED',
};

/** Ends that tell more than the state does. */
const OWN_CODES: readonly ErrorCode[] = ['JOB_NOT_STARTED', 'INPUT_REFUSED'];

/** Why a job that ended has no result. */
export function endCode(state: JobState, failure: JobFailure | null): ErrorCode {
  return OWN_CODES.find((code) => code === failure?.code) ?? END_CODES[state] ?? 'JOB_FAILED';
}

function endOf(state: JobState, failure: JobFailure | null): StudioError {
  const code = endCode(state, failure);
  const message = failure?.message ?? `the job was ${state}`;
  return new StudioError(code, message, code === 'INPUT_REFUSED' ? [{ path: 'input', message }] : []);
}

function attemptView(attempt: StoredAttempt): AttemptView {
  return {
    attempt: attempt.attemptNo,
    hotkey: attempt.hotkey,
    operator: attempt.operator,
    dialect: attempt.dialect,
    state: attempt.state,
    blame: attempt.blame,
    reason: attempt.reason,
    hedge: attempt.hedge,
    sent_at: new Date(attempt.sentAt).toISOString(),
    finished_at: attempt.finishedAt && new Date(attempt.finishedAt).toISOString(),
    raw_ms: milliseconds(attempt.rawUs),
    credit_ms: milliseconds(attempt.creditUs),
    net_ms: milliseconds(attempt.netUs),
    progress: attempt.progress && progressView(attempt.progress),
  };
}

function progressView({ step, total, at }: AttemptProgress): AttemptView['progress'] {
  return { step, total, at: new Date(at).toISOString() };
}

function milliseconds(us: number | null): number | null {
  return us === null ? null : us / 1_000;
}
