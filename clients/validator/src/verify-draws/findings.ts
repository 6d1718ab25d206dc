/** What was checked, how often, and what was found wrong: the report that people and programs read. */

/** Every check by its name, in the order of the report. */
export const CHECKS = {
  secret: 'the secret is the one committed to when the epoch opened',
  snapshot: "commitment, secret and policy are those of the epoch's snapshot, which the log announced",
  rows: 'as many rows as announced, each job once, all under the policy of the epoch',
  u: 'u is the first 8 bytes of HMAC-SHA256(secret, job id)',
  q: "q follows from the miner's record and the policy",
  drawn: 'a job is drawn exactly when u < ⌊q·2⁶⁴⌋',
  audited: 'every drawn job was audited, and every audit has its outcome',
  record: "each miner's record goes on from draw to draw: job by job, no audit forgotten",
  floor: 'where the draw gave too few audits, exactly the lowest u were added',
  replays: 'a job that is never drawn is the replay of an audited one',
  awards: 'every award of the ledger has its row, with the same miner and points, and every row its award',
} as const;

export type CheckName = keyof typeof CHECKS;

export interface Check<Name extends string = CheckName> {
  name: Name;
  /** Things that were looked at. */
  looked: number;
  failures: number;
  /** The first failures, in words. */
  first: string[];
  /** Why it was not made; undefined when it was. */
  skipped?: string;
  /** What else is worth knowing. */
  note?: string;
}

/** A report names this many failures of each check; one is enough to refuse. */
const NAMED = 5;

export class Findings<Name extends string = CheckName> {
  /** Begins every problem from now on: where it is. */
  place = '';
  private readonly checks: Map<Name, Check<Name>>;

  /** @param checks what is checked, in the order of the report. */
  constructor(checks: Record<Name, string> = CHECKS as Record<string, string>) {
    const names = Object.keys(checks) as Name[];
    this.checks = new Map(names.map((name) => [name, { name, looked: 0, failures: 0, first: [] }]));
  }

  /** One thing was looked at, and this is what is wrong with it: nothing, when every entry is false. */
  look(name: Name, ...problems: readonly (string | false | undefined)[]): void {
    this.of(name).looked += 1;
    for (const problem of problems) if (problem) this.fail(name, problem);
  }

  fail(name: Name, problem: string): void {
    const check = this.of(name);
    check.failures += 1;
    if (check.first.length < NAMED) check.first.push(this.place + problem);
  }

  /** What another report found, as part of one check of this one. */
  takeOver(name: Name, { looked, failures, first }: Check<string>): void {
    const check = this.of(name);
    check.looked += looked;
    check.failures += failures;
    check.first.push(...first.slice(0, NAMED - check.first.length));
  }

  skip(name: Name, why: string): void {
    this.of(name).skipped = why;
  }

  note(name: Name, text: string): void {
    this.of(name).note = text;
  }

  list(): Check<Name>[] {
    return [...this.checks.values()];
  }

  private of(name: Name): Check<Name> {
    const check = this.checks.get(name);
    if (!check) throw new RangeError(`there is no check ${name}`);
    return check;
  }
}
