/**
 * Strangers' bytes are decoded here: in threads, so that a hard file stalls no request, with bounded memory, and for a
 * bounded time.
 */
import { extname, join } from 'node:path';
import { Piscina } from 'piscina';
import { threadFlags } from '@studio/shared/platform/thread-flags';
import { refuse, type Checked, type Refused } from './checked';
import type { CleanImage, ImageExpectation } from './image-check';
import type { LoraExpectation, LoraFacts } from './lora-check';

/** One per core of the smallest machine we run on. */
const THREADS = 2;

/** A burst of jobs does not start its threads again and again. */
const IDLE_MS = 30_000;

/** Pixels are decoded outside this heap, bounded by their number; the largest LoRA header and its tensors fit. */
const THREAD_HEAP_MB = 256;

/**
 * The longest legal checks take 0.7 s of processor time (a picture of 2048², lossy WebP), 1.5 s (a photograph of 50
 * megapixels) and 1 s (a LoRA upload of 64 MiB): twenty times the longest, for a machine that is busy with other things.
 */
const LONGEST_CHECK_S = 30;
const LOOK_MS = 1_000;

export interface CheckPoolOptions {
  threads?: number;
  /** Threads that are kept while nothing is checked; each costs about 30 MB, starting one some 100 ms. */
  warm?: number;
  /** How often is looked at the running checks, and how many looks one may live to see. */
  lookMs?: number;
  looks?: number;
}

/** A check that is on its way. `begun` is set by the thread: waiting for one costs a check nothing. */
interface Running {
  begun: Int32Array;
  looks: number;
  end: AbortController;
}

export class CheckPool {
  private readonly pool: Piscina;
  private readonly running = new Set<Running>();
  private readonly lookMs: number;
  private readonly looks: number;
  private watch: NodeJS.Timeout | undefined;

  constructor({ threads = THREADS, warm = 1, lookMs = LOOK_MS, looks = LONGEST_CHECK_S }: CheckPoolOptions = {}) {
    this.lookMs = lookMs;
    this.looks = looks;
    const extension = extname(__filename);
    this.pool = new Piscina({
      filename: join(__dirname, `check-worker${extension}`),
      // Loaded before the first task; without it a default export would be looked for.
      name: 'image' satisfies keyof typeof import('./check-worker'),
      execArgv: threadFlags(__filename),
      minThreads: warm,
      idleTimeout: IDLE_MS,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
  }

  image(bytes: Uint8Array, expected: ImageExpectation): Promise<Checked<CleanImage>> {
    return this.check('image', { bytes, expected }, refusedFile);
  }

  lora(bytes: Uint8Array, expected: LoraExpectation): Promise<Checked<LoraFacts>> {
    return this.check('lora', { bytes, expected }, refusedFile);
  }

  photograph(bytes: Uint8Array, resolution: number): Promise<Checked<CleanImage>> {
    return this.check('photograph', { bytes, resolution }, refusedPhotograph);
  }

  loraUpload(bytes: Uint8Array): Promise<Checked<LoraFacts>> {
    return this.check('loraUpload', { bytes }, refusedFile);
  }

  /** What is wrong with a photograph, by its header; undefined where nothing is. */
  photographUpload(bytes: Uint8Array): Promise<string | undefined> {
    return this.check('photographUpload', { bytes }, (excess) => refusedPhotograph(excess).reason);
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  /** A file that exhausts its thread's memory or time is at fault itself. The thread is replaced. */
  private async check<T>(name: CheckName, task: object, refused: (excess: Excess) => T): Promise<T> {
    const check: Running = { begun: new Int32Array(new SharedArrayBuffer(4)), looks: 0, end: new AbortController() };
    this.running.add(check);
    this.watch ??= setInterval(() => this.look(), this.lookMs).unref();
    try {
      return (await this.pool.run({ ...task, begun: check.begun }, { name, signal: check.end.signal })) as T;
    } catch (error) {
      if (check.end.signal.aborted) return refused('time');
      if ((error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY') return refused('memory');
      throw error;
    } finally {
      this.running.delete(check);
      if (this.running.size === 0) {
        clearInterval(this.watch);
        this.watch = undefined;
      }
    }
  }

  /** Counts looks instead of comparing times: a process that was stopped for a minute has looked once, not sixty times. */
  private look(): void {
    for (const check of this.running) {
      if (Atomics.load(check.begun, 0) === 0) continue;
      check.looks += 1;
      if (check.looks > this.looks) check.end.abort();
    }
  }
}

type CheckName = keyof typeof import('./check-worker');
type Excess = 'memory' | 'time';

const refusedFile = (excess: Excess): Refused => refuse(`the file needs more ${excess} than it may take`);
const refusedPhotograph = (excess: Excess): Refused =>
  refuse(`needs more ${excess} to be read than it may take: send a smaller one`);
