import type { DrawStore } from './draw.store';
import { fileJobs, type Filing } from './filing';

/** One batch is one transaction of a dozen statements, whatever its size. */
export const INTAKE_BATCH = 200;

/**
 * How often a pass looks back over all the time that a commit can take; between, only over the last moment. At 1,000
 * jobs/s a full pass reads 35,000 index entries.
 */
const FULL_PASS_MS = 5_000;

/** Takes in one batch a run; the sweeper runs it again while there is more. */
export class Intake {
  private since: string | undefined;
  private nextFullPass = 0;

  constructor(
    private readonly store: DrawStore,
    /** Hears of every batch that was committed. */
    private readonly onFiled: (filing: Filing) => void,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** @returns whether more jobs are known to wait. */
  async run(): Promise<boolean> {
    if (this.clock() >= this.nextFullPass) {
      this.since = undefined;
      this.nextFullPass = this.clock() + FULL_PASS_MS;
    }
    const taken = await this.store.takeIn({ since: this.since, limit: INTAKE_BATCH }, fileJobs);
    if (!taken) return false;
    this.onFiled(taken.filing);
    this.since = taken.upTo;
    return taken.filing.draws.length === INTAKE_BATCH;
  }
}
