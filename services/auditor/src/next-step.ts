/** What to do next about an audit. Pure: the caller reads the case, does the step, and asks again later. */
import { decideVerdict, type Replay, type Verdict } from '@studio/shared/domain/audit-verdict';
import type { RoutingRule } from '@studio/shared/domain/job';
import { finishedReplays, openReplays, type AuditCase, type Replayer } from './audit-case';
import type { ResultComparator } from './comparators/result-comparator';

export type Step =
  | { do: 'conclude'; verdict: Verdict }
  /** Ask for one more replay. */
  | { do: 'replay'; judge: 'trusted' | 'peer'; routing: RoutingRule }
  /** A replay is under way, or was just lost; look again when it ends, or after `forMs`. */
  | { do: 'wait'; forMs?: number };

/**
 * Replays of one audit that may be lost (failed, expired, refused) before it ends as inconclusive. A reference that is
 * down for some minutes loses no audit; with the pauses below, the eighth is lost after two at least.
 */
const MAX_LOST_REPLAYS = 8;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

/** How soon to look again for somebody who can replay: registrations arrive at the pace of people. */
const NOBODY_THERE_MS = 5_000;

const INCOMPARABLE: Verdict = {
  outcome: 'inconclusive',
  reason: 'The results cannot be compared: there is no comparator for this kind and engine, or a file is gone.',
};

/**
 * @param replayers miners that can be asked for this kind on this engine now.
 * @param comparator of the case's results, as far as they are there; undefined where they cannot be compared.
 */
export function nextStep(
  audit: AuditCase,
  replayers: readonly Replayer[],
  comparator: ResultComparator | undefined,
): Step {
  if (!comparator) return { do: 'conclude', verdict: INCOMPARABLE };
  const verdict = verdictOn(audit, comparator, false);
  if (!isUndecided(verdict)) return { do: 'conclude', verdict };
  // One at a time: two peers asked at once might be two miners of one operator.
  if (openReplays(audit.replays).length > 0) return { do: 'wait' };
  const pause = pauseMs(audit);
  if (pause === undefined) return { do: 'conclude', verdict: verdictOn(audit, comparator, true) };
  if (pause > 0) return { do: 'wait', forMs: pause };
  const judge = chooseJudge(audit, replayers);
  if (judge) return { do: 'replay', ...judge };
  if (audit.closing) return { do: 'conclude', verdict: verdictOn(audit, comparator, true) };
  return { do: 'wait', forMs: NOBODY_THERE_MS };
}

/** The verdict from the replays there are, for an audit whose time is up. */
export function lastVerdict(audit: AuditCase, comparator: ResultComparator | undefined): Verdict {
  return comparator ? verdictOn(audit, comparator, true) : INCOMPARABLE;
}

function isUndecided({ outcome }: Verdict): boolean {
  return outcome === 'need-replay' || outcome === 'need-confirmation';
}

function verdictOn(audit: AuditCase, { digest, agrees }: ResultComparator, exhausted: boolean): Verdict {
  const target = { hotkey: audit.hotkey, digest: digest(audit.result) };
  const replays = finishedReplays(audit.replays).map(({ judge, done }): Replay => ({
    by: judge,
    hotkey: done.hotkey,
    digest: digest(done.result),
  }));
  return decideVerdict({ target, replays, agrees, exhausted });
}

/** What is left of the pause after the last lost replay; undefined when too many were lost. */
function pauseMs({ replays }: AuditCase): number | undefined {
  const lost = replays.flatMap((replay) => replay.failedMsAgo ?? []);
  if (lost.length === 0) return 0;
  if (lost.length >= MAX_LOST_REPLAYS) return undefined;
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (lost.length - 1));
  return Math.max(0, pause - Math.min(...lost));
}

/**
 * The reference first: it is the truth. The second opinion comes from an independent peer where there is one, since the
 * reference could be wrong twice in the same way; a third again from the reference.
 */
function chooseJudge(
  audit: AuditCase,
  replayers: readonly Replayer[],
): { judge: 'trusted' | 'peer'; routing: RoutingRule } | undefined {
  const trusted = chooseTrusted(audit, replayers);
  const peer = choosePeer(audit, replayers);
  const confirming = finishedReplays(audit.replays).length % 2 === 1;
  return confirming ? (peer ?? trusted) : (trusted ?? peer);
}

type Judge = { judge: 'trusted' | 'peer'; routing: RoutingRule };

/** Of several references the one asked least for this audit. */
function chooseTrusted(audit: AuditCase, replayers: readonly Replayer[]): Judge | undefined {
  const asked = (hotkey: string): number => audit.replays.filter(({ routing }) => routing.onlyHotkey === hotkey).length;
  const [first] = replayers
    .filter(({ trusted, hotkey }) => trusted && hotkey !== audit.hotkey)
    .sort((a, b) => asked(a.hotkey) - asked(b.hotkey) || (a.hotkey < b.hotkey ? -1 : 1));
  return first && { judge: 'trusted', routing: { onlyHotkey: first.hotkey } };
}

/** Any miner of an operator who has not seen this input. Which one, routing decides, as for every job. */
function choosePeer(audit: AuditCase, replayers: readonly Replayer[]): Judge | undefined {
  if (audit.private) return undefined;
  const { operator, seenBy } = audit;
  const excludeOperators = [...new Set([operator, ...seenBy])].sort();
  const eligible = replayers.some((peer) => !peer.trusted && !excludeOperators.includes(peer.operator));
  return eligible ? { judge: 'peer', routing: { excludeOperators } } : undefined;
}
