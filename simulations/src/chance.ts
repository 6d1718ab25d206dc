/** Looked up once: in a test's sandbox every look at a global is slow, and these are called many million times. */
const { floor, imul, log } = Math;

/** Seeded chance: the same seed gives the same run, on every machine. */
export class Chance {
  private readonly halves = new Uint32Array(2);
  private readonly whole64 = new BigUint64Array(this.halves.buffer);

  constructor(private state: number) {}

  /** [0, 1): mulberry32 (T. Ettinger, 2017), which passes the usual tests and is eight lines long. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** 64 random bits, as a draw's u. */
  u64(): bigint {
    this.halves[0] = this.next() * 2 ** 32;
    this.halves[1] = this.next() * 2 ** 32;
    return this.whole64[0]!;
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.next();
  }

  /** least … most, both included. */
  whole(least: number, most: number): number {
    return floor(this.between(least, most + 1));
  }

  /** The wait for the next event of a Poisson process. */
  wait(mean: number): number {
    return -mean * log(1 - this.next());
  }

  happens(probability: number): boolean {
    return this.next() < probability;
  }
}
