import type { DrawStore, ScanPosition } from './draw.store';
import { fileJobs, type Filing } from './filing';

/** One batch is one transaction of a dozen statements, whatever its size. */
export const INTAKE_BATCH = 200;

/** How often a pass looks back over the whole overlap; between, a hint only looks beyond the last job taken in. */
const FULL_PASS_MS = 500;

/** Takes in one batch a run; the sweeper runs it again while there is more. */
export class Intake {
  private after: ScanPosition | undefined;
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
      this.after = undefined;
      this.nextFullPass = this.clock() + FULL_PASS_MS;
    }
    const taken = await this.store.takeIn({ after: this.after, limit: INTAKE_BATCH }, fileJobs);
    if (!taken) return false;
    this.onFiled(taken.filing);
    this.after = taken.last;
    return taken.filing.draws.length === INTAKE_BATCH;
  }
}
