/**
 * The floor: at the epoch's close a miner and kind with fewer audits than the policy wants got more, those with the lowest u
 * among the jobs without an audit. A suspected copy, or a job whose answer was known, may have been audited before that
 * or after: how many were added is then known only within as many as there are of those; which ones, always.
 */
import { floorDraws } from '@studio/shared/domain/audit-sampling';
import type { Findings } from './findings';
import type { MinerDraws } from './miner-draws';

export function checkFloor({ hotkey, kind, draws }: MinerDraws, floor: number, findings: Findings): void {
  const candidates = draws.filter(({ drawn, audited }) => !drawn && (audited === null || audited === 'floor'));
  const added = candidates.filter(({ audited }) => audited === 'floor');
  const drawn = draws.filter((draw) => draw.drawn).length;
  const others = draws.length - drawn - candidates.length;
  const most = floorDraws(candidates, drawn, floor);
  const fewest = floorDraws(candidates, drawn + others, floor);
  const whose = `${kind} of ${hotkey}: `;
  findings.look(
    'floor',
    added.length < fewest.length && `${whose}${added.length} audits added, ${fewest.length} are missing to ${floor}`,
    added.length > most.length && `${whose}${added.length} audits added, where ${most.length} were missing to ${floor}`,
    notTheLowest(candidates, added.length, whose),
  );
}

function notTheLowest(candidates: MinerDraws['draws'], count: number, whose: string): string | undefined {
  const wrong = floorDraws(candidates, 0, count).find(({ audited }) => audited !== 'floor');
  return wrong && `${whose}job ${wrong.jobId} has one of the ${count} lowest u, and others were added`;
}
