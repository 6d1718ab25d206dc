import { markdownPage, shownCounts, tableText, type ReportForm } from './report-form';
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
  return tableText(formOf(report));
}

export function signatureMarkdown(report: SignatureReport): string {
  const command = 'npm run bench -- --only signatures --save';
  return markdownPage('The registry under signed requests', command, report.machine, formOf(report));
}

const formOf = (report: SignatureReport): ReportForm => ({
  head: HEAD,
  rows: rowsOf(report),
  notes: footnotes(report),
});

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

const shownStatuses = (rounds: readonly SignatureFigures[]): string =>
  shownCounts(rounds.map(({ statuses, unsent }) => (unsent > 0 ? { ...statuses, unsent } : statuses)));

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
