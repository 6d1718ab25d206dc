import Table from 'cli-table3';
import colors from 'picocolors';
import { CHECKS, type Check } from './findings';
import type { DrawReport } from './verify-epoch';

/** Wide enough for the sentences, narrow enough for a terminal. */
const WIDTHS = [4, 64, 10, 10];

export function tableOf({ epoch, ok, rows, seconds, checks }: DrawReport): string {
  const verdict = ok ? `the draws of epoch ${epoch} verify` : `the draws of epoch ${epoch} do NOT verify`;
  const limits = ok && isPartial(checks) ? ', as far as they were checked' : '';
  return `${checksText(checks, CHECKS)}\n${verdict}${limits} (${rows} rows, ${seconds} s)`;
}

/** Every check with what it says, then what it found wrong. */
export function checksText<Name extends string>(checks: readonly Check<Name>[], says: Record<Name, string>): string {
  const table = new Table({
    head: ['', 'what was checked', 'looked at', 'wrong'],
    colWidths: WIDTHS,
    colAligns: ['center', 'left', 'right', 'right'],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  table.push(...checks.map((check) => rowOf(check, says[check.name])));
  const failures = checks.filter(({ failures: count }) => count > 0).flatMap(namedFailures);
  return [table.toString(), ...failures].join('\n');
}

export function isPartial(checks: readonly Check<string>[]): boolean {
  return checks.some((check) => check.skipped !== undefined);
}

function rowOf({ name, looked, failures, skipped, note }: Check<string>, says: string): string[] {
  const text = `${name}: ${says}`;
  if (skipped !== undefined) return ['–', `${text}\nnot checked: ${skipped}`, '', ''];
  const mark = failures > 0 ? colors.red('✗') : colors.green('✓');
  return [mark, note === undefined ? text : `${text}\n(${note})`, String(looked), failures > 0 ? String(failures) : ''];
}

function namedFailures({ name, failures, first }: Check<string>): string[] {
  const more = failures - first.length;
  return [
    ...first.map((problem) => `${colors.red('✗')} ${name}: ${problem}`),
    ...(more > 0 ? [`  ${name}: … and ${more} more`] : []),
  ];
}
