/** A result's bytes on their way to the parser: bounded, hashed as they came, and timed at the last one. */
import { createHash } from 'node:crypto';
import { ResultRefused } from '../miner-result';

/**
 * Whoever stops reading early leaves the source open: `drain` then reads the rest, because a signature is over all of it.
 * A body that is too large throws ResultRefused, and `overflowed` says so; what the source throws is thrown on.
 */
export class WatchedBody implements AsyncIterable<Uint8Array> {
  /** `performance.now()` of the last byte; infinite until it has come. */
  endMs = Infinity;
  /** SHA-256 of the whole body, hex; empty until its last byte has come. */
  sha256 = '';
  overflowed = false;
  private readonly hash = createHash('sha256');
  private readonly source: AsyncIterator<Uint8Array>;
  private bytes = 0;

  constructor(
    source: AsyncIterable<Uint8Array>,
    private readonly maxBytes: number,
  ) {
    this.source = source[Symbol.asyncIterator]();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.next() };
  }

  async drain(): Promise<void> {
    while (!(await this.next()).done);
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    const step = await this.source.next();
    if (step.done) {
      if (this.sha256) return step;
      this.endMs = performance.now();
      this.sha256 = this.hash.digest('hex');
      return step;
    }
    this.bytes += step.value.byteLength;
    if (this.bytes > this.maxBytes) {
      this.overflowed = true;
      throw new ResultRefused(`the result is larger than ${this.maxBytes} bytes`);
    }
    this.hash.update(step.value);
    return step;
  }
}
