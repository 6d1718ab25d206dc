import Table from 'cli-table3';

const PLAIN = { style: { head: [], border: [] } };

/** One fact per row. */
export function factTable(facts: readonly (readonly [string, unknown])[]): string {
  const table = new Table(PLAIN);
  table.push(...facts.map(([name, value]) => [name, text(value)]));
  return table.toString();
}

/** One thing per row; a column that no row has is left out. */
export function listTable(rows: readonly object[], columns: readonly string[]): string {
  const present = columns.filter((column) => rows.some((row) => column in row));
  const table = new Table({ ...PLAIN, head: [...present] });
  for (const row of rows) table.push(present.map((column) => text((row as Record<string, unknown>)[column])));
  return table.toString();
}

function text(value: unknown): string {
  if (value == null) return '';
  if (typeof value === 'number') return String(Math.round(value * 1000) / 1000);
  return typeof value === 'string' ? value : JSON.stringify(value);
}
