import { markdownPage, shownCounts, tableText, type ReportForm } from './report-form';
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
  return tableText(formOf(report));
}

export function scoreMarkdown(report: ScoreReport): string {
  const command = 'npm run bench -- --only scores --save';
  return markdownPage('The registry under validators', command, report.machine, formOf(report));
}

const formOf = (report: ScoreReport): ReportForm => ({ head: HEAD, rows: rowsOf(report), notes: footnotes(report) });

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
    shownCounts(rounds.map(({ statuses }) => statuses)),
    middle((one) => one.bytes / answers(one) / 1_024).toFixed(1),
    `${middle(({ registryCpuMs }) => registryCpuMs).toFixed(2)} / ${middle(({ postgresCpuMs }) => postgresCpuMs).toFixed(2)}`,
  ];
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
