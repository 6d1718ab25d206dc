/** A job as fal's queue tells of it. It knows no failure: a failed request is COMPLETED, and its result is the error. */
import type { Eta } from '@studio/shared/contract/job-view';
import type { AttemptProgress, JobInput } from '@studio/shared/domain/job';
import { isTerminal } from '@studio/shared/domain/job-state';
import type { StoredAttempt, StoredJob } from '../job.store';
import { inferenceSeconds, type FalApp } from './fal-apps';
import { errorTypeOf } from './fal-errors';
import { endCode } from '../job-view';

export interface FalUrls {
  response_url: string;
  status_url: string;
  cancel_url: string;
}

export interface FalLog {
  message: string;
  level: 'INFO' | 'WARNING' | 'ERROR';
  source: 'USER';
  timestamp: string;
  labels: Record<string, never>;
}

export interface FalStatus extends FalUrls {
  status: 'IN_QUEUE' | 'IN_PROGRESS' | 'COMPLETED';
  request_id: string;
  logs: FalLog[];
  queue_position?: number;
  /** Not fal's: steps of the attempt that is furthest, where its miner tells them. */
  progress?: { step: number; total: number };
  /** Not fal's: until the result, by the latest requests of this kind. */
  eta?: Eta;
  metrics?: { inference_time: number | null };
  error?: string;
  error_type?: string;
}

export function urlsOf(publicUrl: string, app: Pick<FalApp, 'id'>, requestId: string): FalUrls {
  const request = `${publicUrl.replace(/\/+$/, '')}/queue/${app.id}/requests/${requestId}`;
  return { response_url: request, status_url: `${request}/status`, cancel_url: `${request}/cancel` };
}

export function statusOf(job: StoredJob, urls: FalUrls, withLogs: boolean, eta: Eta | null): FalStatus {
  const common = { request_id: job.id, ...urls, logs: withLogs ? logsOf(job) : [] };
  const wait = eta ? { eta } : {};
  if (job.state === 'queued') return { status: 'IN_QUEUE', ...common, queue_position: job.queuePosition ?? 0, ...wait };
  if (!isTerminal(job.state)) return { status: 'IN_PROGRESS', ...common, ...progressOf(job), ...wait };
  const metrics = { inference_time: inferenceSeconds(job) };
  if (job.state === 'succeeded') return { status: 'COMPLETED', ...common, metrics };
  const error = job.failure?.message ?? `the request was ${job.state}`;
  const error_type = errorTypeOf(endCode(job.state, job.failure));
  return { status: 'COMPLETED', ...common, metrics, error, error_type };
}

/** What happened so far, in order: what was asked for, who was asked, and how it went. */
function logsOf(job: StoredJob): FalLog[] {
  const asked = { at: job.createdAt, level: 'INFO' as const, message: `queued: ${wordsOf(job.input)}` };
  const attempts = job.attempts.flatMap((attempt) => [
    { at: attempt.sentAt, ...begun(attempt) },
    ...(attempt.progress ? steps(attempt, attempt.progress) : []),
    ...(attempt.finishedAt ? [{ at: attempt.finishedAt, ...ended(attempt) }] : []),
  ]);
  return [asked, ...attempts]
    .map(({ at, level, message }) => ({
      message,
      level,
      source: 'USER' as const,
      timestamp: new Date(at).toISOString(),
      labels: {},
    }))
    .sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
}

function wordsOf(input: JobInput): string {
  if ('lora' in input)
    return `${input.numImages} × ${input.width}×${input.height}, seed ${input.seed}: ${input.prompt}`;
  return `${input.steps} steps at ${input.resolution}×${input.resolution}, rank ${input.rank}, seed ${input.seed}`;
}

type Line = Pick<FalLog, 'level' | 'message'>;

function begun({ attemptNo, hotkey, hedge }: StoredAttempt): Line {
  const beside = hedge ? ', beside one that is slow' : '';
  return { level: 'INFO', message: `attempt ${attemptNo}: sent to miner ${hotkey}${beside}` };
}

function steps({ attemptNo }: StoredAttempt, { total, marks }: AttemptProgress): (Line & { at: string })[] {
  return marks.map(({ step, at }) => ({
    at,
    level: 'INFO',
    message: `attempt ${attemptNo}: step ${step} of ${total}`,
  }));
}

function progressOf({ attempts }: StoredJob): Pick<FalStatus, 'progress'> {
  const told = attempts.flatMap(({ state, progress }) => (state === 'open' && progress ? [progress] : []));
  const [furthest] = told.sort((a, b) => b.step / b.total - a.step / a.total);
  return furthest ? { progress: { step: furthest.step, total: furthest.total } } : {};
}

function ended({ attemptNo, state, reason }: StoredAttempt): Line {
  const why = reason === null ? '' : `: ${reason}`;
  const isWell = state === 'accepted' || state === 'superseded' || state === 'cancelled' || state === 'busy';
  return { level: isWell ? 'INFO' : 'WARNING', message: `attempt ${attemptNo}: ${state}${why}` };
}
