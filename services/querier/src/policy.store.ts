import { DEFAULT_POLICY, type Policy } from '@studio/shared/domain/policy';
import type { DataSource } from 'typeorm';

/** Lease and attempts change rarely; a worker may be this long behind. */
const CACHE_MS = 5_000;

/** The policy of the open epoch; before the first epoch, the default. */
export class PolicyStore {
  private policy: Policy = DEFAULT_POLICY;
  private until = -Infinity;

  constructor(
    private readonly db: DataSource,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** As last read. */
  get latest(): Policy {
    return this.policy;
  }

  async current(): Promise<Policy> {
    if (this.clock() < this.until) return this.policy;
    const [row] = await this.db.query<{ body: Policy }[]>(
      `SELECT p.body FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version WHERE e.state = 'open'`,
    );
    // A policy of before a field existed has that field's default.
    this.policy = row ? { ...DEFAULT_POLICY, ...row.body } : this.policy;
    this.until = this.clock() + CACHE_MS;
    return this.policy;
  }
}
