/** The demo's outcome as tables for a person. Pure: text out. */
import Table from 'cli-table3';
import colors from 'picocolors';
import type { ProcessReport } from '../system/supervisor';
import type { MinerSummary } from './miner-summary';
import type { AuditReport } from './operator-client';
import type { DemoJob } from './run-demo';

const MICRO = 1_000_000;
/** cli-table3 colours its lines whether or not anybody sees colours; picocolors looks. */
const STYLE = {
  head: colors.isColorSupported ? ['cyan'] : [],
  border: colors.isColorSupported ? ['grey'] : [],
  compact: true,
};
/** Enough of an id to find it in a log. */
const SHORT = 8;
const REASON_WIDTH = 52;

export function jobsTable(
  jobs: readonly DemoJob[],
  audits: readonly AuditReport[],
  names: ReadonlyMap<string, string>,
): string {
  const table = new Table({
    head: ['job', 'what', 'miner', 'tries', 'ms', 'verdict', 'reason'],
    style: STYLE,
    wordWrap: true,
    colWidths: [10, null, null, null, null, null, REASON_WIDTH],
  });
  for (const { view, title } of jobs) {
    const audit = audits.find(({ job_id }) => job_id === view.id);
    const last = view.attempts.find(({ state }) => state === 'accepted') ?? view.attempts.at(-1);
    const failures = view.attempts
      .filter(({ reason, state }) => reason && state !== 'accepted')
      .map(({ reason }) => reason);
    table.push([
      view.id.slice(-SHORT),
      title,
      last ? (names.get(last.hotkey) ?? last.hotkey.slice(0, SHORT)) : '—',
      view.attempts.length,
      last?.net_ms == null ? '—' : Math.round(last.net_ms),
      verdictText(audit),
      withNames([audit?.outcome === 'valid' ? '' : audit?.reason, ...failures].filter(Boolean).join('; '), names),
    ]);
  }
  return table.toString();
}

/** A miner's name says more than its hotkey to who started it. */
function withNames(text: string, names: ReadonlyMap<string, string>): string {
  return [...names].reduce(
    (known, [hotkey, name]) => known.replaceAll(`miner ${hotkey}`, name).replaceAll(hotkey, name),
    text,
  );
}

function verdictText(audit: AuditReport | undefined): string {
  if (!audit) return colors.dim('not drawn');
  const outcome = audit.outcome ?? 'open';
  return outcome === 'valid'
    ? colors.green(outcome)
    : outcome === 'invalid'
      ? colors.red(outcome)
      : colors.yellow(outcome);
}

const points = (micro: string): string => (Number(micro) / MICRO).toFixed(3);

export function minersTable(miners: readonly MinerSummary[]): string {
  const table = new Table({
    head: ['miner', 'training', 'inference', 'awarded', 'reversed', 'points', 'audits', 'win rate', 'weight', 'u16'],
    colAligns: ['left', ...Array<'right'>(9).fill('right')],
    style: STYLE,
  });
  for (const miner of miners) {
    const { valid, invalid, inconclusive } = miner.verdicts;
    table.push([
      miner.name,
      points(miner.pointsByKind['lora-training'] ?? '0'),
      points(miner.pointsByKind['lora-inference'] ?? '0'),
      points(miner.awarded),
      points(miner.reversed),
      colors.bold(points(miner.points)),
      `${valid} valid, ${invalid} invalid${inconclusive ? `, ${inconclusive} open` : ''}`,
      miner.winRate.toFixed(3),
      `${(miner.weight * 100).toFixed(2)} %`,
      miner.u16,
    ]);
  }
  return table.toString();
}

/** What the dishonest miner was left with, and why. */
export function dishonestText(
  miner: MinerSummary,
  audits: readonly AuditReport[],
  names: ReadonlyMap<string, string>,
): string {
  const reasons = audits
    .filter((audit) => audit.hotkey === miner.hotkey && audit.outcome === 'invalid')
    .map((audit) => `  ${audit.job_id.slice(-SHORT)} ${audit.kind}: ${withNames(audit.reason ?? '', names)}`);
  return [
    `${miner.name} (${miner.hotkey}) was awarded ${points(miner.awarded)} points, lost ${points(miner.reversed.replace('-', ''))}, and is left with ${colors.bold(points(miner.points))}.`,
    ...(reasons.length ? reasons : ['  It is in quarantine: no work was given to it.']),
  ].join('\n');
}

export function invariantsTable(invariants: Record<string, boolean>): string {
  return Object.entries(invariants)
    .map(([name, holds]) => `  ${holds ? colors.green('✓') : colors.red('✗')} ${name}`)
    .join('\n');
}

export function processesTable(processes: readonly ProcessReport[]): string {
  const table = new Table({ head: ['process', 'peak MiB', 'restarts'], style: STYLE });
  for (const { name, peakMemoryMiB, restarts } of processes) table.push([name, peakMemoryMiB ?? '—', restarts]);
  return table.toString();
}
