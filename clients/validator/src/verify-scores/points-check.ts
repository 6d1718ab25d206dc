/** The points of one award, from what the draw of its job says. */
import type { ExportedDraw } from '@studio/shared/contract/exports';
import { pointsFor } from '@studio/shared/domain/points';
import type { Policy } from '@studio/shared/domain/policy';
import { findTaskKind } from '@studio/shared/domain/task-kinds';
import type { ExportedAward } from './event-log';

/** @returns what is wrong with them. */
export function pointsProblem(row: ExportedDraw, award: ExportedAward | undefined, policy: Policy): string | false {
  const { job_id: jobId, latency_us: latencyUs, timeout_ms: timeoutMs, kind, engine } = row;
  // That it has none is a finding of its own.
  if (award === undefined) return false;
  const given = `job ${jobId}: points are ${award.points} in the award on line ${award.line}`;
  const task = findTaskKind(kind, engine);
  if (!task || timeoutMs === null)
    return `${given}, and there is no ${task ? 'T_max' : 'task kind'} to compute them from`;
  const paid = recomputed(() =>
    pointsFor({ weightMicro: task.weightMicro, tMaxMs: timeoutMs, latencyUs, cutoffShare: policy.latencyCutoffShare }),
  );
  const expected = award.unpaid ? '0' : paid;
  if (award.points === expected && row.points === expected) return false;
  const from = award.unpaid ? 'being unpaid' : `from latency_us ${latencyUs} and timeout_ms ${timeoutMs}`;
  return `${given} and ${row.points} here, recomputed ${expected} ${from}`;
}

/** Figures that no job can have are told, not thrown. */
function recomputed(points: () => bigint): string {
  try {
    return points().toString();
  } catch (error) {
    return `nothing (${(error as Error).message})`;
  }
}
