/**
 * sr25519 off the event loop: a registry that a thousand miners call, and a querier that signs every request, would
 * otherwise stand still for 2 to 6 ms per signature (pure JavaScript; 0.3 to 0.7 ms in the threads, by WebAssembly).
 * Whatever arrives during one turn of the event loop, or while the threads work, crosses to them in one message.
 */
import { extname, join } from 'node:path';
import { Piscina } from 'piscina';
import { StudioError } from '../domain/errors';
import { hotkeyFromSeed, isSignature, verificationKey, type Signer, type Verifier } from '../protocol/hotkey';
import { Batcher } from './batcher';
import type { Task } from './signature-worker';
import { threadFlags } from './thread-flags';

/**
 * About 10 ms of a thread's work: a later signature waits no longer for its turn. Under load the event loop pays for a
 * signature some 200 µs when each crosses alone, 45 µs in sixteens, 23 µs in sixty-fours.
 */
const MAX_BATCH = 16;

/** About 0.7 s of one thread's work. A request that waits longer is better sent again than grown stale here. */
const MAX_PENDING = 1_000;

export interface SignatureThreadsOptions {
  /** One checks some 1,500 signatures per second. */
  threads?: number;
  /** Signatures asked for and not yet answered; beyond them, asking is refused. */
  maxPending?: number;
}

export class SignatureThreads implements Verifier {
  private readonly pool: Piscina;
  private readonly batcher: Batcher<Task, string | boolean>;
  private readonly maxPending: number;
  private pending = 0;

  constructor({ threads = 1, maxPending = MAX_PENDING }: SignatureThreadsOptions = {}) {
    const extension = extname(__filename);
    this.maxPending = maxPending;
    this.pool = new Piscina({
      filename: join(__dirname, `signature-worker${extension}`),
      name: 'run' satisfies keyof typeof import('./signature-worker'),
      execArgv: threadFlags(__filename),
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: 1,
    });
    this.batcher = new Batcher((tasks) => this.pool.run(tasks) as Promise<(string | boolean)[]>, {
      maxBatch: MAX_BATCH,
      concurrency: threads,
      // Computing twice does no harm: what a lost thread held is asked again, of the one that replaces it.
      isolate: () => true,
    });
  }

  /** @param seed of the hotkey, 64 hex digits. @throws RangeError that does not repeat it. */
  signer(seed: string): Signer {
    const { address, secretKey } = hotkeyFromSeed(seed);
    const publicKey = verificationKey(address) as Uint8Array;
    return {
      address,
      sign: (message) => this.ask({ do: 'sign', message, publicKey, secretKey }) as Promise<string>,
    };
  }

  /** False for any malformed input. @throws StudioError DEPENDENCY_DOWN while too many wait, INTERNAL for a lost thread. */
  async verify(address: string, message: string, signature: string): Promise<boolean> {
    // Takes no place in the queue.
    if (!isSignature(signature)) return false;
    return this.ask({ do: 'verify', message, address, signature }) as Promise<boolean>;
  }

  /** Whatever was asked for is still answered. */
  async close(): Promise<void> {
    await this.batcher.drain();
    await this.pool.close();
  }

  private async ask(task: Task): Promise<string | boolean> {
    if (this.pending >= this.maxPending) {
      throw new StudioError(
        'DEPENDENCY_DOWN',
        `${this.pending} signatures wait to be computed: ask again in a second with a fresh timestamp`,
      );
    }
    this.pending += 1;
    try {
      return await this.batcher.add(task);
    } catch (cause) {
      throw new StudioError('INTERNAL', 'a signature could not be computed: its thread was lost', [], { cause });
    } finally {
      this.pending -= 1;
    }
  }
}
