/**
 * Group commit without a timer: whatever arrives while a flush runs goes into the next one, so that an idle system
 * answers at once and a busy one pays one commit for many items (rows inserted one at a time: 2.5–7 k/s; 50 and
 * more per commit: 41 k/s).
 */
export interface BatcherOptions {
  /** Largest batch given to one flush. */
  maxBatch: number;
  /** Two: the next batch travels to the database while the previous one waits for its fsync. */
  concurrency?: number;
  /**
   * Says that a failed batch may be tried again in halves, so that one poisoned item does not fail its neighbours.
   * Answer true only when the failure is certain to have written nothing, or when writing twice does no harm.
   */
  isolate?: (error: unknown) => boolean;
}

interface Waiting<I, O> {
  item: I;
  resolve: (output: O) => void;
  reject: (error: unknown) => void;
}

export class Batcher<I, O> {
  private queue: Waiting<I, O>[] = [];
  private inFlight = 0;
  private scheduled = false;
  private idle: (() => void)[] = [];
  private readonly concurrency: number;

  /** `flush` returns one output per item, in the items' order. */
  constructor(
    private readonly flush: (items: I[]) => Promise<O[]>,
    private readonly options: BatcherOptions,
  ) {
    this.concurrency = options.concurrency ?? 2;
  }

  /** Resolves with the item's own output once its batch is flushed; rejects with the flush's error. */
  add(item: I): Promise<O> {
    return new Promise<O>((resolve, reject) => {
      this.queue.push({ item, resolve, reject });
      this.schedule();
    });
  }

  /** Resolves when nothing waits and nothing runs. Items may still be added meanwhile; they are waited for. */
  drain(): Promise<void> {
    if (this.isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  get size(): number {
    return this.queue.length;
  }

  private isIdle(): boolean {
    return this.queue.length === 0 && this.inFlight === 0;
  }

  /** Starts at the end of the current turn of the event loop: requests read from sockets in one turn share a batch. */
  private schedule(): void {
    if (this.scheduled || this.inFlight >= this.concurrency) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    while (this.queue.length > 0 && this.inFlight < this.concurrency) {
      this.inFlight += 1;
      const batch = this.queue.splice(0, this.options.maxBatch);
      void this.settle(batch).then(() => {
        this.inFlight -= 1;
        this.pump();
        if (this.isIdle()) this.idle.splice(0).forEach((resolve) => resolve());
      });
    }
  }

  /** Never rejects: every outcome goes to the items' own promises. */
  private async settle(batch: Waiting<I, O>[]): Promise<void> {
    try {
      const outputs = await this.flush(batch.map(({ item }) => item));
      if (outputs.length !== batch.length) throw new BatchSizeError(batch.length, outputs.length);
      batch.forEach(({ resolve }, index) => resolve(outputs[index] as O));
    } catch (error) {
      await this.settleFailed(batch, error);
    }
  }

  private async settleFailed(batch: Waiting<I, O>[], error: unknown): Promise<void> {
    if (batch.length === 1 || error instanceof BatchSizeError || !this.options.isolate?.(error)) {
      batch.forEach(({ reject }) => reject(error));
      return;
    }
    // Halves find one bad item among n in 2·log₂ n flushes.
    const middle = batch.length >> 1;
    await this.settle(batch.slice(0, middle));
    await this.settle(batch.slice(middle));
  }
}

/** A flush that loses or invents outputs cannot be matched to its items: a fault in our own code. */
export class BatchSizeError extends Error {
  constructor(items: number, outputs: number) {
    super(`the flush was given ${items} items and returned ${outputs} outputs; it has to return one for each`);
    this.name = 'BatchSizeError';
  }
}
