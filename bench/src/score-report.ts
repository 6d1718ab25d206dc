import Table from 'cli-table3';
import type { PollingFigures, ScoreReport } from './score-bench';
import { median } from './statistics';

const HEAD = [
  '',
  'answers/s',
  'ms p50 / p99 / max',
  'statuses',
  'KiB an answer',
  'CPU ms an answer, registry / postgres',
];

export function scoreTable(report: ScoreReport): string {
  const table = new Table({ head: HEAD, style: { head: [], border: [] } });
  for (const row of rowsOf(report)) table.push(row);
  return `${table.toString()}\n\n${footnotes(report).join('\n')}\n`;
}

export function scoreMarkdown(report: ScoreReport): string {
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`;
  const { processor, cores, memoryGiB, platform, node } = report.machine;
  return [
    '# The registry under validators',
    '',
    'Written by `npm run bench -- --only scores --save`. Only ratios within one run mean something.',
    '',
    `${cores} × ${processor}, ${memoryGiB} GiB, ${platform}, Node ${node}; everything on one machine.`,
    '',
    line(HEAD),
    line(['---', ...HEAD.slice(1).map(() => '---:')]),
    ...rowsOf(report).map(line),
    '',
    ...footnotes(report).map((text) => `- ${text}`),
    '',
  ].join('\n');
}

function rowsOf({ loads }: ScoreReport): string[][] {
  return loads.map(({ load, rounds }) => [load.name, ...cells(rounds)]);
}

function cells(rounds: readonly PollingFigures[]): string[] {
  const middle = (value: (figures: PollingFigures) => number): number => median(rounds.map(value));
  const answers = ({ statuses }: PollingFigures): number => Object.values(statuses).reduce((a, b) => a + b, 0);
  return [
    middle((one) => answers(one) / one.seconds).toFixed(0),
    [middle(({ p50Ms }) => p50Ms), middle(({ p99Ms }) => p99Ms), Math.max(...rounds.map(({ maxMs }) => maxMs))]
      .map((ms) => ms.toFixed(0))
      .join(' / '),
    shownStatuses(rounds),
    middle((one) => one.bytes / answers(one) / 1_024).toFixed(1),
    `${middle(({ registryCpuMs }) => registryCpuMs).toFixed(2)} / ${middle(({ postgresCpuMs }) => postgresCpuMs).toFixed(2)}`,
  ];
}

/** Of all rounds together. */
function shownStatuses(rounds: readonly PollingFigures[]): string {
  const total: Record<string, number> = {};
  for (const { statuses } of rounds) {
    for (const [status, count] of Object.entries(statuses)) total[status] = (total[status] ?? 0) + count;
  }
  return Object.entries(total)
    .map(([status, count]) => `${status}: ${count}`)
    .join(', ');
}

function footnotes({ machine, validators, miners, rounds, weights }: ScoreReport): string[] {
  return [
    `${validators} validators with a connection each ask for \`GET /v1/scores\` of ${miners} miners; medians of ${rounds} interleaved rounds (the greatest maximum)`,
    'known: the request carries the ETag of the last answer; whole boards: it carries none',
    'ms: from when a poll was due to the end of its answer; sent by another process on the same two cores',
    `points to u16 weights, ms: ${weights.map(({ miners: n, ms }) => `${n} miners ${ms.toFixed(2)}`).join(', ')}`,
    `the machine’s load was ${machine.loadBefore.toFixed(1)} before the run`,
  ];
}
