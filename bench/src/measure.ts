/** One interleaved run: in every round each contender runs once, in rotating order, on the same machine. */
import type { Contender, PacedTimes } from './contender';
import { cpuMs } from './process-cpu';
import { rotated } from './statistics';

export interface BurstFigures {
  jobsPerSecond: number;
  cpuMsPerJob: number;
  /** The same, by process; `client` is this one. */
  cpuByProcess: Record<string, number>;
}

export interface Figures {
  /** One a round, in the order of the rounds. */
  bursts: BurstFigures[];
  /** All rounds together. */
  paced: PacedTimes;
}

export interface Plan {
  rounds: number;
  jobs: number;
  /** Jobs and rate of one paced run. */
  pacedJobs: number;
  perSecond: number;
  /** What a miner takes for a job of a paced run, in ms; none in a burst. */
  delayMs: number;
}

export async function measure(
  contenders: readonly Contender[],
  plan: Plan,
  setDelay: (delayMs: number) => Promise<void>,
  say: (line: string) => void,
): Promise<Map<Contender, Figures>> {
  const figures = new Map<Contender, Figures>(
    contenders.map((one) => [one, { bursts: [], paced: { total: [], submit: [] } }]),
  );
  for (let round = 0; round < plan.rounds; round += 1) {
    await setDelay(0);
    for (const contender of rotated(contenders, round)) {
      const burst = await measureBurst(contender, plan.jobs);
      figures.get(contender)!.bursts.push(burst);
      say(`round ${round + 1}: ${contender.name}: ${burst.jobsPerSecond.toFixed(0)} jobs/s`);
    }
    await setDelay(plan.delayMs);
    for (const contender of rotated(contenders, round)) {
      if (!contender.paced) continue;
      await contender.prepare?.();
      const { total, submit } = await contender.paced(plan.pacedJobs, plan.perSecond);
      await contender.rest?.();
      const { paced } = figures.get(contender)!;
      paced.total.push(...total);
      paced.submit.push(...submit);
    }
  }
  return figures;
}

async function measureBurst(contender: Contender, jobs: number): Promise<BurstFigures> {
  await contender.prepare?.();
  const ownBefore = process.cpuUsage();
  const before = cpuByProcess(contender);
  const seconds = await contender.burst(jobs);
  await contender.settle?.();
  const { user, system } = process.cpuUsage(ownBefore);
  const spent = Object.entries(cpuByProcess(contender)).map(([name, ms]) => [name, ms - (before[name] ?? 0)] as const);
  await contender.rest?.();
  const byProcess = [...spent, ['client', (user + system) / 1_000] as const];
  return {
    jobsPerSecond: jobs / seconds,
    cpuMsPerJob: byProcess.reduce((sum, [, ms]) => sum + ms, 0) / jobs,
    cpuByProcess: Object.fromEntries(byProcess.map(([name, ms]) => [name, ms / jobs])),
  };
}

function cpuByProcess(contender: Contender): Record<string, number> {
  return Object.fromEntries(Object.entries(contender.processes()).map(([name, pid]) => [name, cpuMs([pid])]));
}
