/** What every report of the benchmark looks like: a table with notes, for a terminal and as a page of docs/reports. */
import Table from 'cli-table3';
import type { Machine } from './machine';

export interface ReportForm {
  head: readonly string[];
  rows: readonly (readonly string[])[];
  notes: readonly string[];
}

export function tableText({ head, rows, notes }: ReportForm): string {
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  for (const row of rows) table.push([...row]);
  return `${table.toString()}\n\n${notes.join('\n')}\n`;
}

/** @param command what writes the page. */
export function markdownPage(
  title: string,
  command: string,
  machine: Machine,
  { head, rows, notes }: ReportForm,
): string {
  const line = (values: readonly string[]): string => `| ${values.join(' | ')} |`;
  const { processor, cores, memoryGiB, platform, node } = machine;
  return [
    `# ${title}`,
    '',
    `Written by \`${command}\`. Only ratios within one run mean something.`,
    '',
    `${cores} × ${processor}, ${memoryGiB} GiB, ${platform}, Node ${node}; everything on one machine.`,
    '',
    line(head),
    line(['---', ...head.slice(1).map(() => '---:')]),
    ...rows.map(line),
    '',
    ...notes.map((text) => `- ${text}`),
    '',
  ].join('\n');
}

/** `200: 12, 304: 7`, of all rounds together. */
export function shownCounts(rounds: readonly Readonly<Record<string, number>>[]): string {
  const total: Record<string, number> = {};
  for (const counts of rounds) {
    for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
  }
  return Object.entries(total)
    .map(([name, count]) => `${name}: ${count}`)
    .join(', ');
}
