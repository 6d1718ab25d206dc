/**
 * The model server behind a Dippy Studio miner's proxy: one queue, one file per job id, one callback per job. A file that
 * is there already is taken for the result, whatever was asked this time.
 */
import { createHash, randomUUID } from 'node:crypto';
import sharp from 'sharp';
import { encodeCallback, sendCallback, type DippyCallbackParts } from './dippy-miner-callback';
import type { DippyJob } from './dippy-miner-fields';

/** How this miner's model behaves from now on; each is honest by default. */
export interface ModelQuirks {
  /** Ends every job with this error. */
  fails?: string;
  /** Works for ever: a second request for the same id is answered 409. */
  neverCalls?: boolean;
  /** `completed`, with an image of no bytes. */
  emptyImage?: boolean;
  /** `completed`, with an address instead of the image. */
  missingImage?: boolean;
  /** Sends each callback this many times. */
  callbacks?: number;
  /** Waits until the expiry is over, and calls all the same. */
  lateCallback?: boolean;
  /** The job is not finished before this. */
  hold?: Promise<unknown>;
}

/** One delivery of one callback. `status` is what it was answered with; undefined: not sent, or nobody answered. */
export interface SentCallback {
  jobId: string;
  parts: DippyCallbackParts;
  outcome: 'sent' | 'expired' | 'nowhere';
  status?: number | undefined;
}

type JobState = 'queued' | 'processing' | 'completed' | 'failed';

export class DippyModel {
  private readonly states = new Map<string, JobState>();
  private readonly files = new Map<string, Buffer>();
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly quirks: () => ModelQuirks,
    private readonly reach: (callbackUrl: string) => string,
    private readonly onCallback: (sent: SentCallback) => void,
  ) {}

  /** The unfinished state of a job with this id, which is why it cannot be taken. */
  unfinished(jobId: string): JobState | undefined {
    const state = this.states.get(jobId);
    return state === 'queued' || state === 'processing' ? state : undefined;
  }

  /**
   * @param replied the job is not looked at before this.
   * @returns the job's id, and a promise of its last callback's end.
   */
  take(job: DippyJob, replied: Promise<unknown>, prefix: string): { jobId: string; called: Promise<void> } {
    const jobId = job.job_id ?? `${prefix}${randomUUID()}`;
    this.states.set(jobId, 'queued');
    const called = Promise.all([this.queue, replied]).then(() => this.run(jobId, job));
    this.queue = called;
    return { jobId, called };
  }

  private async run(jobId: string, job: DippyJob): Promise<void> {
    const { fails, neverCalls, hold } = this.quirks();
    this.states.set(jobId, 'processing');
    if (neverCalls) return;
    await hold;
    const error = fails ?? job.flaw;
    if (error === undefined && !this.files.has(jobId)) this.files.set(jobId, await dippyPicture(job));
    this.states.set(jobId, error === undefined ? 'completed' : 'failed');
    const parts = error === undefined ? this.completed(jobId) : ({ job_id: jobId, status: 'failed', error } as const);
    await this.callBack(jobId, job, parts);
  }

  private completed(jobId: string): DippyCallbackParts {
    const { emptyImage, missingImage } = this.quirks();
    const image_url = `http://localhost:8091/images/${jobId}.png`;
    if (missingImage) return { job_id: jobId, status: 'completed', image_url };
    const image = emptyImage ? Buffer.alloc(0) : this.files.get(jobId)!;
    return { job_id: jobId, status: 'completed', image, image_url };
  }

  private async callBack(jobId: string, job: DippyJob, parts: DippyCallbackParts): Promise<void> {
    const { callbacks = 1, lateCallback } = this.quirks();
    if (job.callback_url === null) return this.onCallback({ jobId, parts, outcome: 'nowhere' });
    if (lateCallback) await passed(job.expiry ?? 0);
    else if (job.expiry !== null && Date.now() > job.expiry)
      return this.onCallback({ jobId, parts, outcome: 'expired' });
    const form = encodeCallback(parts, new Date());
    for (let sent = 0; sent < callbacks; sent++) {
      const status = await sendCallback(this.reach(job.callback_url), job.callback_secret, form);
      this.onCallback({ jobId, parts, outcome: 'sent', status });
    }
  }
}

/** A picture that prompt and seed alone decide: the oracle for whether both arrived as they were meant. */
export async function dippyPicture({
  prompt,
  seed,
  width,
  height,
}: Pick<DippyJob, 'prompt' | 'seed' | 'width' | 'height'>): Promise<Buffer> {
  const key = createHash('sha256').update(`${seed}|${prompt}`).digest();
  const pixels = Buffer.alloc(width * height * 3);
  for (let at = 0; at < pixels.length; at++) {
    const pixel = Math.floor(at / 3);
    const stripe = Math.floor((pixel % width) / 8) + 7 * Math.floor(pixel / width / 8);
    pixels[at] = (key[(stripe + at) % key.length]! + pixel) & 0xff;
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

function passed(epochMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, epochMs - Date.now()) + 1));
}
