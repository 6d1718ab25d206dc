/** Runs scenarios and judges them. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { Chance } from '../chance';
import { summarize, type Summary } from './figures';
import { LaneRun, type LaneOptions } from './lane-run';
import { SCENARIOS, type Scenario, type Size } from './scenarios';

export interface Outcome {
  scenario: string;
  what: string;
  kind: LaneOptions['lane']['kind'];
  summary: Summary;
  /** Promises that did not hold. */
  broken: string[];
}

/** Usual times of the two kinds, and the multiple of them after which a miner has failed. */
const JOB_MS = { 'lora-training': 60_000, 'lora-inference': 10_000 } as const;
const TIMEOUT_JOBS = 6;
/** Until miners have proven their slots. */
const WARM_UP_SHARE = 0.3;
const LOAD = 0.7;
const WORKERS = 4;
const KINDS = ['lora-training', 'lora-inference'] as const;

export async function simulate(size: Size, seed: number, onDone: (outcome: Outcome) => void): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const scenario of SCENARIOS) {
    for (const kind of scenario.kinds ?? KINDS) {
      const outcome = await runScenario(scenario, kind, size, seed);
      outcomes.push(outcome);
      onDone(outcome);
    }
  }
  return outcomes;
}

async function runScenario(scenario: Scenario, kind: Outcome['kind'], size: Size, seed: number): Promise<Outcome> {
  const spanMs = size.spanJobs * JOB_MS[kind];
  const miners = scenario.miners({ ...size, spanMs }, new Chance(seed));
  const figures = await new LaneRun({
    lane: { kind, engine: 'flux' },
    miners,
    seed,
    spanMs,
    warmUpMs: spanMs * WARM_UP_SHARE,
    jobMs: JOB_MS[kind],
    timeoutMs: JOB_MS[kind] * TIMEOUT_JOBS,
    load: LOAD,
    workers: WORKERS,
    policy: DEFAULT_POLICY.routing,
    loras: 0,
    transferMs: 0,
    ...scenario.options?.(spanMs),
  }).run();
  const summary = summarize(figures, scenario.special(miners));
  const { name, what } = scenario;
  return { scenario: name, what, kind, summary, broken: scenario.broken(summary) };
}
