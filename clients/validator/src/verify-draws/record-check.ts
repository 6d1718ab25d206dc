/**
 * A miner's record from draw to draw. The auditor decides jobs in batches: within one, the number of jobs seen rises by one
 * and the rest stays; from one to the next it goes on where it was, and audits and passes only grow. It may jump only where
 * the record was begun anew or counted again: the n-th jump needs n such rewrites of that miner before it. What a record
 * was before the epoch's first draw is in the exports of earlier epochs; in epoch 1 it is empty.
 */
import type { DrawnFrom, RecordRewrite } from '@studio/shared/contract/draws';
import type { Findings } from './findings';
import type { Draw, MinerDraws } from './miner-draws';

const FIRST_EPOCH = 1;

export interface RecordContext {
  epoch: number;
  rewrites: readonly RecordRewrite[];
}

export function checkRecords(miner: MinerDraws, { epoch, rewrites }: RecordContext, findings: Findings): void {
  const own = rewrites.filter(({ hotkey }) => hotkey === miner.hotkey).map(({ at }) => at);
  let before: Batch | undefined;
  let jumps = 0;
  for (const batch of batchesOf(miner)) {
    for (const [index, draw] of batch.draws.entries()) {
      findings.look('record', ...impossible(draw), index > 0 && breaksBatch(draw, batch, index));
    }
    const jump = before ? jumpBetween(before, batch) : epoch === FIRST_EPOCH && startsWithHistory(batch);
    if (jump) {
      jumps += 1;
      const allowed = own.filter((at) => at < batch.takenAt).length;
      if (allowed < jumps)
        findings.fail('record', `${jump}, and nothing says that the record of ${miner.hotkey} was rewritten`);
    }
    before = batch;
  }
}

interface Batch {
  takenAt: string;
  draws: (Draw & { record: DrawnFrom })[];
  first: DrawnFrom;
}

/** In the order in which they were decided. Draws without a record are failures of the check `q`. */
function batchesOf({ draws }: MinerDraws): Batch[] {
  const known = draws.filter((draw): draw is Batch['draws'][number] => draw.record !== null);
  known.sort(
    (a, b) => compare(a.takenAt, b.takenAt) || compare(a.finishedAt, b.finishedAt) || compare(a.jobId, b.jobId),
  );
  const batches: Batch[] = [];
  for (const draw of known) {
    const last = batches.at(-1);
    if (last?.takenAt === draw.takenAt) last.draws.push(draw);
    else batches.push({ takenAt: draw.takenAt, draws: [draw], first: draw.record });
  }
  return batches;
}

/** Without a failure S never leaves 0 (cusum.ts). */
function impossible({ jobId, record }: Batch['draws'][number]): (string | false)[] {
  const { jobs_seen: seen, audits, passes, cusum } = record;
  const counts = [seen, audits, passes].every((count) => Number.isSafeInteger(count) && count >= 0);
  return [
    !(counts && passes <= audits && cusum >= 0) && `job ${jobId}: a record of ${describe(record)} cannot be`,
    passes === audits && cusum > 0 && `job ${jobId}: a CUSUM of ${cusum} without a failed audit cannot be`,
  ];
}

function breaksBatch({ jobId, record }: Batch['draws'][number], { first }: Batch, index: number): string | false {
  const expected = { ...first, jobs_seen: first.jobs_seen + index };
  return (
    !same(record, expected) && `job ${jobId}: the record is ${describe(record)}, its batch gives ${describe(expected)}`
  );
}

function jumpBetween({ first: before, draws }: Batch, { first: now, draws: [next] }: Batch): string | undefined {
  const seen = before.jobs_seen + draws.length;
  const audits = now.audits - before.audits;
  const passes = now.passes - before.passes;
  const goesOn =
    now.jobs_seen === seen && passes >= 0 && passes <= audits && (audits > 0 || now.cusum === before.cusum);
  if (goesOn) return undefined;
  return `job ${next?.jobId}: the record jumps from ${describe({ ...before, jobs_seen: seen })} to ${describe(now)}`;
}

function startsWithHistory({ first, draws: [next] }: Batch): string | false {
  return first.jobs_seen > 0 && `job ${next?.jobId}: the first record of the first epoch is ${describe(first)}`;
}

function same(a: DrawnFrom, b: DrawnFrom): boolean {
  return a.jobs_seen === b.jobs_seen && a.audits === b.audits && a.passes === b.passes && a.cusum === b.cusum;
}

function describe({ jobs_seen: seen, audits, passes, cusum }: DrawnFrom): string {
  return `${seen} jobs, ${passes} of ${audits} audits passed, CUSUM ${cusum}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
