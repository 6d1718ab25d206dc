import Table from 'cli-table3';
import type { LoopDelay } from './registry-system';
import type { SignatureFigures, SignatureReport } from './signature-bench';
import { median } from './statistics';

const HEAD = [
  '',
  'event loop delay ms p50 / p99 / max',
  'answered/s',
  'statuses',
  'reply ms p50 / p99',
  'CPU ms/request, event loop / registry / postgres',
];

export function signatureTable(report: SignatureReport): string {
  const table = new Table({ head: HEAD, style: { head: [], border: [] } });
  for (const row of rowsOf(report)) table.push(row);
  return `${table.toString()}\n\n${footnotes(report).join('\n')}\n`;
}

export function signatureMarkdown(report: SignatureReport): string {
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`;
  const { processor, cores, memoryGiB, platform, node } = report.machine;
  return [
    '# The registry under signed requests',
    '',
    'Written by `npm run bench -- --only signatures --save`. Only ratios within one run mean something.',
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

function rowsOf({ idle, loads }: SignatureReport): string[][] {
  const left = ['left alone', shownDelay([idle]), '', '', '', ''];
  return [left, ...loads.map(({ load, rounds }) => [load.name, ...cells(rounds)])];
}

function cells(rounds: readonly SignatureFigures[]): string[] {
  const middle = (value: (figures: SignatureFigures) => number): number => median(rounds.map(value));
  return [
    shownDelay(rounds.map(({ delay }) => delay)),
    middle(({ answered, seconds }) => answered / seconds).toFixed(0),
    shownStatuses(rounds),
    `${middle(({ p50Ms }) => p50Ms).toFixed(0)} / ${middle(({ p99Ms }) => p99Ms).toFixed(0)}`,
    (['loop', 'registry', 'postgres'] as const).map((of) => middle(({ cpuMs }) => cpuMs[of]).toFixed(2)).join(' / '),
  ];
}

/** Medians of the rounds, and the worst of all: a maximum has no median worth knowing. */
function shownDelay(delays: readonly LoopDelay[]): string {
  const p50 = median(delays.map(({ p50Ms }) => p50Ms));
  const p99 = median(delays.map(({ p99Ms }) => p99Ms));
  const max = Math.max(...delays.map(({ maxMs }) => maxMs));
  return [p50, p99, max].map((ms) => ms.toFixed(1)).join(' / ');
}

/** Of all rounds together. */
function shownStatuses(rounds: readonly SignatureFigures[]): string {
  const total: Record<string, number> = {};
  for (const { statuses, unsent } of rounds) {
    const all = unsent > 0 ? { ...statuses, unsent } : statuses;
    for (const [status, count] of Object.entries(all)) total[status] = (total[status] ?? 0) + count;
  }
  return Object.entries(total)
    .map(([status, count]) => `${status}: ${count}`)
    .join(', ');
}

function footnotes({ machine, plan }: SignatureReport): string[] {
  return [
    `${plan.perSecond} requests/s of ${plan.miners} miners for ${plan.seconds} s, medians of ${plan.rounds} interleaved rounds (delay: the greatest maximum)`,
    'event loop delay: the registry’s own metric, less the 10 ms of the timer that it is measured with',
    'genuine: PUT /v1/miners/{hotkey}, each committed with its nonce; forged: a well-formed signature over another body',
    'unsent: due while 256 others were waiting for their answers',
    'reply: from the moment a request was due to the end of its reply; signed and sent by another process',
    `the machine’s load was ${machine.loadBefore.toFixed(1)} before the run`,
  ];
}
