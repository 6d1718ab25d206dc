/** The outcomes as a table for people. */
import Table from 'cli-table3';
import { TRANSFER_MS } from './scenarios';
import type { Outcome } from './simulate';

const HEAD = ['scenario', 'kind', 'jobs', 'Gini', 'min/median/max a slot', 'starved', 'the special ones', 'LoRA there'];

export function tableOf(outcomes: readonly Outcome[]): string {
  const table = new Table({ head: HEAD, style: { head: [], border: [] } });
  for (const outcome of outcomes) table.push(rowOf(outcome));
  return table.toString();
}

export function rowOf({ scenario, kind, summary }: Outcome): string[] {
  const { jobs, gini, perSlot, starved, transfersSaved } = summary;
  const spread = [perSlot.min, perSlot.median, perSlot.max].map((value) => value.toFixed(1)).join(' / ');
  const saved = transfersSaved === undefined ? '' : `${(100 * transfersSaved).toFixed(0)} %`;
  const name = kind.replace('lora-', '');
  return [scenario, name, `${jobs}`, gini.toFixed(3), spread, `${starved}`, specialOf(summary), saved];
}

/** What a preference for holders saves: the second of these outcomes is without it. */
export function savings(outcomes: readonly Outcome[]): string[] {
  const [preferred, without] = outcomes.filter(({ summary }) => summary.transfersSaved !== undefined);
  if (!preferred || !without) return [];
  const share = preferred.summary.transfersSaved! - without.summary.transfersSaved!;
  const each = (ms: number): string => `${(share * ms).toFixed(ms < 10 ? 2 : 0)} ms`;
  return [
    `Preferring holders saves ${(100 * share).toFixed(0)} % of the transfers: ${each(TRANSFER_MS.large)} a job ` +
      `with a LoRA of 40 MB at 100 Mbit/s, ${each(TRANSFER_MS.small)} with one of 35 kB.`,
  ];
}

function specialOf({ special, firstJobMs }: Outcome['summary']): string {
  if (firstJobMs !== undefined) return `first job after ${(firstJobMs / 1_000).toFixed(1)} s`;
  if (!special) return '';
  const { askedPerSlot, donePerSlot, refused, believedSlots } = special;
  return (
    `asked ${askedPerSlot.toFixed(2)}×, done ${donePerSlot.toFixed(2)}×, ` +
    `429 ${(100 * refused).toFixed(0)} %, believed ${believedSlots.toFixed(1)}`
  );
}
