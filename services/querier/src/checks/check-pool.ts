/** Strangers' bytes are decoded here: in threads, so that a hard file stalls no request, with bounded memory. */
import { extname, join } from 'node:path';
import { Piscina } from 'piscina';
import { refuse, type Checked, type CleanImage, type ImageSize } from './image-check';
import type { LoraExpectation, LoraFacts } from './lora-check';

/** One per core of the smallest machine we run on. */
const THREADS = 2;

/** A burst of jobs does not start its threads again and again. */
const IDLE_MS = 30_000;

/** A 50-megapixel photograph is decoded outside this heap; the largest LoRA header and its tensors fit. */
const THREAD_HEAP_MB = 256;

/** Sources (tests) are compiled as the thread loads them; built files need nothing. */
const SOURCE_LOADER = ['--conditions=studio-src', '--require', '@swc-node/register'];

export class CheckPool {
  private readonly pool: Piscina;

  /** `warm`: threads that are kept while nothing is checked; each costs about 30 MB, starting one some 100 ms. */
  constructor({ threads = THREADS, warm = 1 }: { threads?: number; warm?: number } = {}) {
    const extension = extname(__filename);
    this.pool = new Piscina({
      filename: join(__dirname, `check-worker${extension}`),
      // Loaded before the first task; without it a default export would be looked for.
      name: 'image' satisfies keyof typeof import('./check-worker'),
      execArgv: extension === '.ts' ? SOURCE_LOADER : [],
      minThreads: warm,
      idleTimeout: IDLE_MS,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
    });
  }

  image(bytes: Uint8Array, size: ImageSize): Promise<Checked<CleanImage>> {
    return this.check('image', { bytes, size });
  }

  lora(bytes: Uint8Array, expected: LoraExpectation): Promise<Checked<LoraFacts>> {
    return this.check('lora', { bytes, expected });
  }

  photograph(bytes: Uint8Array, resolution: number): Promise<Checked<CleanImage>> {
    return this.check('photograph', { bytes, resolution });
  }

  loraUpload(bytes: Uint8Array): Promise<Checked<LoraFacts>> {
    return this.check('loraUpload', { bytes });
  }

  /** What is wrong with a photograph, by its header; undefined where nothing is. */
  photographUpload(bytes: Uint8Array): Promise<string | undefined> {
    return this.pool.run({ bytes }, { name: 'photographUpload' }) as Promise<string | undefined>;
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  /** A file that exhausts its thread's memory is the file's fault; the thread is replaced. */
  private async check<T>(name: string, task: object): Promise<Checked<T>> {
    try {
      return (await this.pool.run(task, { name })) as Checked<T>;
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_WORKER_OUT_OF_MEMORY') throw error;
      return refuse('the file needs more memory than it may take');
    }
  }
}
