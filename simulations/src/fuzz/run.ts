/**
 * Feeds tier 1 with inputs that come from a seed alone: input `n` of a target is the same whatever was fed before, so that a
 * finding is one command away from being seen again.
 */
import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { CheckPool } from '@studio/querier/checks/check-pool';
import { Chance } from '../chance';
import { LoopWatch, peakMib } from './loop-watch';
import { makeSeeds } from './seeds';
import { ACCEPTED, inputOf, makeTargets, type Target } from './targets';

export interface FuzzTask {
  seed: number;
  inputs: number;
  /** Only this input of this target. */
  only?: { target: string; input: number };
}

/** What no input may cause. */
export interface Finding {
  target: string;
  input: number;
  message: string;
}

export interface TargetReport {
  name: string;
  inputs: number;
  /** SHA-256 of all inputs in their order: what was fed. What a decoder says of a broken file may vary with its threads. */
  digest: string;
  accepted: number;
  /** Refusals by reason, numbers and names left out; the commonest first. */
  reasons: [reason: string, count: number][];
}

export interface FuzzReport {
  targets: TargetReport[];
  findings: Finding[];
  /** Of the event loop of the process that feeds the check threads. */
  lateP99Ms: number;
  lateMaxMs: number;
  rssBeforeMib: number;
  rssMib: number;
  cpuS: number;
}

/** Checks run in threads: so many are on their way that none is idle. */
const AT_ONCE = 6;
const MAX_FINDINGS = 20;

export async function fuzz({ seed, inputs, only }: FuzzTask, fed: (count: number) => void): Promise<FuzzReport> {
  const pool = new CheckPool();
  const seeds = await makeSeeds();
  const targets = makeTargets(seeds, pool).filter(({ name }) => !only || name === only.target);
  // Threads and decoders load before anything is measured.
  await assertSound(targets);
  const [rssBeforeMib, cpu, watch] = [peakMib(), process.cpuUsage(), new LoopWatch()];
  const findings: Finding[] = [];
  const reports = await Promise.all(
    targets.map((target) => {
      const [first, end] = only ? [only.input, only.input + 1] : [0, Math.ceil(inputs * target.share)];
      return feed(target, { seed, first, end }, findings, fed);
    }),
  );
  const { p99Ms, maxMs } = watch.stop();
  const { user, system } = process.cpuUsage(cpu);
  await pool.close();
  const figures = { lateP99Ms: p99Ms, lateMaxMs: maxMs, rssBeforeMib, rssMib: peakMib(), cpuS: (user + system) / 1e6 };
  return { targets: reports, findings, ...figures };
}

/** Seeds that are refused would be no seeds. */
async function assertSound(targets: readonly Target[]): Promise<void> {
  for (const target of targets) {
    const outcomes = await Promise.all(target.seeds.map(async ({ bytes }) => target.judge(bytes, new Chance(2))));
    if (!outcomes.includes(ACCEPTED))
      throw new Error(`no seed of the ${target.name} is accepted: ${outcomes.join('; ')}`);
  }
}

async function feed(
  target: Target,
  { seed, first, end }: { seed: number; first: number; end: number },
  findings: Finding[],
  fed: (count: number) => void,
): Promise<TargetReport> {
  const reasons = new Map<string, number>();
  const digest = createHash('sha256');
  let next = first;
  let accepted = 0;
  const hand = async (): Promise<void> => {
    while (next < end && findings.length < MAX_FINDINGS) {
      const input = next++;
      const chance = new Chance(stateOf(seed, target.name, input));
      try {
        const bytes = inputOf(target, chance);
        digest.update(bytes);
        const outcome = await target.judge(bytes, chance);
        if (outcome === ACCEPTED) accepted += 1;
        else reasons.set(general(outcome), (reasons.get(general(outcome)) ?? 0) + 1);
      } catch (error) {
        findings.push({
          target: target.name,
          input,
          message: error instanceof Error ? (error.stack ?? error.message) : String(error),
        });
      }
      // Parsers answer at once; a server would read something else in between.
      await turn();
      fed(1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
  const sorted = [...reasons].sort(([x, a], [y, b]) => b - a || (x < y ? -1 : 1));
  return { name: target.name, inputs: next - first, digest: digest.digest('hex'), accepted, reasons: sorted };
}

function stateOf(seed: number, target: string, input: number): number {
  return createHash('sha256').update(`${seed}|${target}|${input}`).digest().readInt32LE(0);
}

/** Names, numbers and what a decoder quotes would make every reason one of its own. */
function general(reason: string): string {
  return reason
    .replace(/"(?:[^"\\]|\\.)*"?/g, '…')
    .replace(/(tensor|module|part|field) \S+/g, '$1 …')
    .replace(/\d+/g, 'n')
    .slice(0, 70);
}
