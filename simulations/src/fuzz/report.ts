/** A run for people: what was answered, and what is wrong. */
import Table from 'cli-table3';
import type { FuzzReport } from './run';

/** Of a worker: docs/security.md. */
const MAX_RSS_MIB = 512;
const MAX_LATE_MS = 200;
/** Of each target. */
const REASONS_SHOWN = 8;

export function tableOf(report: FuzzReport, seed: number, minutes: number): string {
  const table = new Table({ head: ['target', 'answer', 'inputs'], style: { head: [], border: [] } });
  for (const { name, inputs, accepted, reasons } of report.targets) {
    const rest = reasons.slice(REASONS_SHOWN);
    const others = rest.reduce((sum, [, count]) => sum + count, 0);
    table.push([
      { content: name, rowSpan: 2 + Math.min(reasons.length, REASONS_SHOWN) + (others > 0 ? 1 : 0) },
      'all',
      inputs,
    ]);
    table.push(['accepted', accepted], ...reasons.slice(0, REASONS_SHOWN));
    if (others > 0) table.push([`${rest.length} other reasons`, others]);
  }
  return `${table.toString()}\n${figuresOf(report, seed, minutes)}`;
}

export function figuresOf(report: FuzzReport, seed: number, minutes: number): string {
  const { targets, findings, lateP99Ms, lateMaxMs, rssBeforeMib, rssMib, cpuS } = report;
  const inputs = targets.reduce((sum, target) => sum + target.inputs, 0);
  return (
    `seed ${seed}: ${inputs} inputs, ${findings.length} findings; event loop late by ${lateP99Ms.toFixed(0)} ms (p99), ` +
    `${lateMaxMs.toFixed(0)} ms at most; peak RSS ${rssMib.toFixed(0)} MiB (${rssBeforeMib.toFixed(0)} before); ` +
    `${cpuS.toFixed(0)} s of processor time, ${minutes.toFixed(1)} minutes`
  );
}

export function findingsOf({ findings }: FuzzReport, seed: number): string[] {
  return findings.map(
    ({ target, input, message }) =>
      `${message}\n  again with: npm run fuzz -- --seed ${seed} --only "${target}:${input}"`,
  );
}

export function limitsOf({ lateMaxMs, rssMib }: FuzzReport): string[] {
  return [
    ...(lateMaxMs > MAX_LATE_MS ? [`the event loop stood still for ${lateMaxMs.toFixed(0)} ms`] : []),
    ...(rssMib > MAX_RSS_MIB ? [`the process took ${rssMib.toFixed(0)} MiB`] : []),
  ];
}
