/**
 * What a conformance check is. Each proves one sentence of a contract from outside: a check that fails says what was
 * seen and what to change. Checks are independent: one that needs what another could not get is skipped and says so.
 */
export interface Check<Probe> {
  name: string;
  /** The sentence of the contract that it proves. */
  requirement: string;
  /** What was seen, where that is worth telling. @throws Failure | Skip */
  run(probe: Probe): Promise<string | void>;
}

export type Finding = { name: string; requirement: string } & (
  { result: 'pass'; seen?: string } | { result: 'fail'; seen: string; change: string } | { result: 'skip'; why: string }
);

/** The miner does not keep the contract. */
export class Failure extends Error {
  override readonly name = 'Failure';

  constructor(
    readonly seen: string,
    /** The remedy, to whoever runs the miner. */
    readonly change: string,
  ) {
    super(`${seen}: ${change}`);
  }
}

/** The check says nothing about this miner. */
export class Skip extends Error {
  override readonly name = 'Skip';
}

export function demand(holds: boolean, seen: string, change: string): asserts holds {
  if (!holds) throw new Failure(seen, change);
}

/** Runs them in order, one at a time: several at once would take each other's slots. */
export async function runChecks<Probe>(
  checks: readonly Check<Probe>[],
  probe: Probe,
  found: (finding: Finding) => void = () => undefined,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of checks) {
    const finding = await runCheck(check, probe);
    findings.push(finding);
    found(finding);
  }
  return findings;
}

async function runCheck<Probe>(check: Check<Probe>, probe: Probe): Promise<Finding> {
  const { name, requirement } = check;
  try {
    const seen = await check.run(probe);
    return { name, requirement, result: 'pass', ...(seen && { seen }) };
  } catch (error) {
    if (error instanceof Skip) return { name, requirement, result: 'skip', why: error.message };
    if (error instanceof Failure) {
      return { name, requirement, result: 'fail', seen: error.seen, change: error.change };
    }
    const seen = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { name, requirement, result: 'fail', seen, change: 'see that the miner runs and answers at its endpoint' };
  }
}
