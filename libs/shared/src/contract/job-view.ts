/** What clients read: `GET /v1/jobs/{id}` and the reply to a submit. Times are ISO 8601, UTC. */
import type { MinerDialect } from './miners';
import type { AttemptState, Blame, Engine, JobFailure, JobKind, JobState } from '../domain/job';

export interface JobView {
  id: string;
  kind: JobKind;
  engine: Engine;
  state: JobState;
  created_at: string;
  deadline_at: string;
  finished_at: string | null;
  /** Jobs that a worker will look at before this one; null once it has left the queue. */
  queue_position: number | null;
  /** Until the job's end, by the latest jobs of its kind; null once it has ended, and while those are too few. */
  eta: Eta | null;
  failure: JobFailure | null;
  attempts: AttemptView[];
  urls: { status: string; result: string; cancel: string };
}

/** `GET /v1/jobs`. */
export interface JobListView {
  jobs: JobView[];
  /** To send as `before` for the page that follows; null when this one was not full. */
  next: string | null;
}

export interface Eta {
  median_seconds: number;
  p95_seconds: number;
}

/** `POST /v1/jobs?dry_run=true`: what would become of this job if it were handed in now. No job is stored. */
export interface QuoteView {
  kind: JobKind;
  engine: Engine;
  /** Who may do it, and how many at a time. */
  miners: number;
  slots: number;
  /** Jobs of its kind that wait. */
  queued: number;
  eta: Eta | null;
  /** Of one attempt, and of the job. */
  timeout_seconds: number;
  deadline_seconds: number;
}

export interface AttemptView {
  attempt: number;
  hotkey: string;
  /** Whose miner it is, and how it is spoken to. */
  operator: string;
  dialect: MinerDialect;
  state: AttemptState;
  blame: Blame;
  reason: string | null;
  /** A second attempt beside a slow one. */
  hedge: boolean;
  sent_at: string;
  finished_at: string | null;
  /** Milliseconds: by our clock, credited for the network, and net. */
  raw_ms: number | null;
  credit_ms: number | null;
  net_ms: number | null;
  /** As its miner tells it, where it does. */
  progress: { step: number; total: number; at: string } | null;
}

/** A file in a result. `url` is signed and expires. */
export interface FileView {
  url: string;
  sha256: string;
  content_type: string;
  file_size: number;
}

export interface ImageView extends FileView {
  width: number;
  height: number;
}

/** `GET /v1/jobs/{id}/result`: `lora` for training, `images` for inference; `input` shows the seed that was used. */
export interface ResultView {
  id: string;
  lora?: FileView;
  /** Training: the photograph as it was trained on, canonicalised, cropped and resized. */
  image?: ImageView;
  images?: ImageView[];
  seed: number;
}

/** `POST /v1/artifacts`. */
export type UploadView = FileView;
