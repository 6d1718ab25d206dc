/** Something that gets jobs to miners and back, ready to be measured. */
export interface Contender {
  name: string;
  /** What it does and does not do, for the report. */
  what: string;
  /** The contender of equal duties that its rate is compared with. */
  peer?: string;
  /** Its processes, name → pid; descendants count with them. The client, this process, is added for everybody. */
  processes(): Record<string, number>;
  /** Brings it into the state that it is measured in. Not measured, like `rest`. */
  prepare?(): Promise<void>;
  /** Runs `count` jobs as fast as it can. @returns seconds from handing in the first until the last is finished and stored. */
  burst(count: number): Promise<number>;
  /** Waits for work that follows from a burst; its CPU time counts, the time it takes does not. */
  settle?(): Promise<void>;
  /** Runs `count` jobs at `perSecond`; absent where only throughput is of interest. */
  paced?(count: number, perSecond: number): Promise<PacedTimes>;
  /** Lets everything end that could disturb the next contender. */
  rest?(): Promise<void>;
  /** What is wrong with what it has stored; nothing for a contender that stores nothing. */
  verify(): Promise<string[]>;
}

/** Milliseconds of every job, by the client's clock. */
export interface PacedTimes {
  /** From handing in to having the result. */
  total: number[];
  /** From handing in to the acknowledgement; empty where there is none. */
  submit: number[];
}

/** Jobs under way at a time, for every contender: the product's default WORKER_CONCURRENCY. */
export const WIDTH = 64;

/** Runs `work` and tells how long it took, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
