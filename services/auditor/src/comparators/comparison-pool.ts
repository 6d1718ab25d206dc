/** Results are looked into here: in threads, so that a comparison stalls no other audit, with bounded memory. */
import { extname, join } from 'node:path';
import { Piscina } from 'piscina';
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import { threadFlags } from '@studio/shared/platform/thread-flags';
import type { FunctionalTask, PicturesTask } from './comparison-worker';
import type { FunctionalVerdict } from './functional';
import type { PerceptualComparison } from './perceptual';

/** One per core of the smallest machine we run on. */
const THREADS = 2;

/** Audits come in bursts, at the end of an epoch above all. */
const IDLE_MS = 30_000;

/** Pixels lie outside this heap, and a comparison makes few objects beside them; the largest LoRA header fits. */
const THREAD_HEAP_MB = 256;

/**
 * The files compared are our own, checked before they were stored: one that cannot be read is our fault, so every method
 * rejects instead of disagreeing, and nobody is convicted by it.
 */
export class ComparisonPool {
  private readonly pool: Piscina;

  /** No thread is kept while nothing is compared: starting one takes some 100 ms, which no audit feels. */
  constructor({ threads = THREADS }: { threads?: number } = {}) {
    const extension = extname(__filename);
    this.pool = new Piscina({
      filename: join(__dirname, `comparison-worker${extension}`),
      // Loaded before the first task; without it a default export would be looked for.
      name: 'pictures' satisfies keyof typeof import('./comparison-worker'),
      execArgv: threadFlags(__filename),
      minThreads: 0,
      idleTimeout: IDLE_MS,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
  }

  /** Two picture files of one job, by what they show. */
  pictures(a: Uint8Array, b: Uint8Array, thresholds: PerceptualThresholds): Promise<PerceptualComparison> {
    const task: PicturesTask = { a, b, thresholds };
    return this.pool.run(task, { name: 'pictures' }) as Promise<PerceptualComparison>;
  }

  /** Two adapters of one job, by what a trusted engine renders with them. */
  functional(task: FunctionalTask): Promise<FunctionalVerdict> {
    return this.pool.run(task, { name: 'functional' }) as Promise<FunctionalVerdict>;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }
}
