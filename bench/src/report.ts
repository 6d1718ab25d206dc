import Table from 'cli-table3';
import type { CheckCost } from './check-cost';
import type { Contender } from './contender';
import type { Machine } from './machine';
import type { Figures, Plan } from './measure';
import { median, medianRatio, percentile } from './statistics';

export interface Row {
  name: string;
  what: string;
  jobsPerSecond: number;
  cpuMsPerJob: number;
  /** Median of the per-round ratios of the rates; null without a peer. */
  peer: { name: string; ratio: number } | null;
  /** Where the CPU time went: medians, so that they need not add up. */
  cpuByProcess: Record<string, number>;
  /** CPU as a multiple of the floor's. */
  cpuOverFloor: number;
  /** Milliseconds over the miner's own delay. */
  added: Percentiles | null;
  /** Milliseconds to the acknowledgement. */
  submit: Percentiles | null;
}

export interface Percentiles {
  p50: number;
  p95: number;
  p99: number;
}

export interface BenchReport {
  machine: Machine;
  plan: Plan;
  rows: Row[];
  checkCost: CheckCost;
  /** Peak MiB by process of the product. */
  memoryMiB: Record<string, number>;
  aims: Aim[];
  /** What is wrong with what was stored; the run counts only when this is empty. */
  problems: string[];
  seconds: number;
}

export interface Aim {
  aim: string;
  value: number;
  bound: number;
  met: boolean;
}

export function rowsOf(figures: ReadonlyMap<Contender, Figures>, plan: Plan, floor: Contender): Row[] {
  const byName = new Map([...figures].map(([{ name }, values]) => [name, values]));
  const cpu = ({ bursts }: Figures): number[] => bursts.map(({ cpuMsPerJob }) => cpuMsPerJob);
  const rate = ({ bursts }: Figures): number[] => bursts.map(({ jobsPerSecond }) => jobsPerSecond);
  return [...figures].map(([{ name, what, peer }, values]) => {
    const theirs = peer === undefined ? undefined : byName.get(peer);
    return {
      name,
      what,
      jobsPerSecond: median(rate(values)),
      cpuMsPerJob: median(cpu(values)),
      cpuByProcess: byProcess(values),
      peer: theirs ? { name: peer!, ratio: medianRatio(rate(values), rate(theirs)) } : null,
      cpuOverFloor: medianRatio(cpu(values), cpu(figures.get(floor)!)),
      added: percentilesOf(values.paced.total.map((ms) => ms - plan.delayMs)),
      submit: percentilesOf(values.paced.submit),
    };
  });
}

function byProcess({ bursts }: Figures): Record<string, number> {
  const names = Object.keys(bursts[0]?.cpuByProcess ?? {});
  return Object.fromEntries(names.map((name) => [name, median(bursts.map((burst) => burst.cpuByProcess[name] ?? 0))]));
}

function percentilesOf(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  return { p50: percentile(values, 0.5), p95: percentile(values, 0.95), p99: percentile(values, 0.99) };
}

export function printReport(report: BenchReport, out: (text: string) => void): void {
  const table = new Table({
    head: ['', 'jobs/s', '× peer', 'CPU ms/job', '× HTTP only', 'added ms p50/p95/p99', 'submit ms p50/p95/p99'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
  });
  for (const row of report.rows) table.push(cells(row));
  out(`${table.toString()}\n\n${footnotes(report).join('\n')}\n`);
}

function cells(row: Row): string[] {
  return [
    row.name,
    row.jobsPerSecond.toFixed(0),
    row.peer ? row.peer.ratio.toFixed(2) : '',
    row.cpuMsPerJob.toFixed(2),
    row.cpuOverFloor.toFixed(1),
    row.added ? shown(row.added) : '',
    row.submit ? shown(row.submit) : '',
  ];
}

const shares = (cpu: Record<string, number>): string =>
  Object.entries(cpu)
    .sort(([, a], [, b]) => b - a)
    .map(([name, ms]) => `${name} ${ms.toFixed(2)}`)
    .join(', ');

const shown = ({ p50, p95, p99 }: Percentiles): string => [p50, p95, p99].map((ms) => ms.toFixed(1)).join(' / ');

function footnotes({ machine, rows, plan, checkCost, memoryMiB, aims, problems, seconds }: BenchReport): string[] {
  return [
    ...rows.map(({ name, what, peer }) => `${name}: ${what}${peer ? `; peer: ${peer.name}` : ''}`),
    `the machine's load was ${machine.loadBefore.toFixed(1)} before the run`,
    `bursts of ${plan.jobs} jobs, medians of ${plan.rounds} interleaved rounds; latency at ${plan.perSecond} jobs/s over a miner's ${plan.delayMs} ms`,
    `one picture costs ${checkCost.checkMs.toFixed(2)} ms CPU to check and ${checkCost.storeMs.toFixed(2)} ms to keep`,
    ...rows.map(({ name, cpuByProcess }) => `CPU ms/job, ${name}: ${shares(cpuByProcess)}`),
    `peak MiB: ${Object.entries(memoryMiB)
      .map(([name, mib]) => `${name} ${mib}`)
      .join(', ')}`,
    ...aims.map(({ aim, value, bound, met }) => `${met ? '✓' : '✗'} ${aim}: ${value.toFixed(2)} (aim ${bound})`),
    ...problems.map((problem) => `PROBLEM ${problem}`),
    `${problems.length === 0 ? 'every job was done, recorded and awarded once' : 'the figures do not count'}; ${seconds.toFixed(0)} s`,
  ];
}

export function markdownReport(report: BenchReport): string {
  const { machine, rows } = report;
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`;
  const head = [
    '',
    'jobs/s',
    '× peer',
    'CPU ms/job',
    '× HTTP only',
    'added ms p50 / p95 / p99',
    'submit ms p50 / p95 / p99',
  ];
  return [
    '# The last benchmark',
    '',
    'Written by `npm run bench -- --save`. Only ratios within one run mean something: absolute figures vary by 3× between runs on shared machines.',
    '',
    `${machine.cores} × ${machine.processor}, ${machine.memoryGiB} GiB, ${machine.platform}, Node ${machine.node}; everything on one machine.`,
    '',
    line(head),
    line(head.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map((row) => line(cells(row))),
    '',
    ...footnotes(report).map((note) => `- ${note}`),
    '',
    'Not yet here: the usual stack (Nest-Express, BullMQ, Postgres), BullMQ alone, pg-boss.',
    '',
  ].join('\n');
}
