/**
 * From the replays of a job to its verdict (audit.md, tier 2). Pure: the auditor asks for replays, stores them in the
 * order they were asked for, and calls this after each.
 *
 * One agreeing replay clears the miner; one disagreeing convicts nobody, since the replay itself may be wrong.
 * A conviction needs a second result that agrees with the first replay. Where only peers replayed, all three must agree
 * with each other: a peer is as untrusted as the target. Anything else is inconclusive, which never hurts the miner.
 */

export interface Replay {
  /** `trusted`: a reference of ours. `peer`: an independent miner of another operator. */
  by: 'trusted' | 'peer';
  hotkey: string;
  /** Names the result (pixel hash, tensor hash) for `agrees`. */
  digest: string;
}

export interface VerdictQuestion {
  /** The audited result and whose it is. */
  target: { hotkey: string; digest: string };
  /** Finished replays in the order they were asked for; one that failed or expired is simply absent. */
  replays: readonly Replay[];
  /** The engine's comparator on two digests; symmetric. `exact` is equality. */
  agrees: (a: string, b: string) => boolean;
  /** No further replay can be had: no miner left, or the epoch's bound has passed. */
  exhausted: boolean;
}

/** `need-replay` and `need-confirmation` are not verdicts: ask for `next` more replays and decide again. */
export type VerdictOutcome = 'valid' | 'invalid' | 'inconclusive' | 'need-replay' | 'need-confirmation';

export interface Verdict {
  outcome: VerdictOutcome;
  /** One sentence for the miner and the operator. */
  reason: string;
  /** How many further replays to ask for now; only with `need-…`. */
  next?: number;
}

/** Replays after which an undecided case ends. */
const MAX_REPLAYS = 3;
/** Agreeing results that convict when at least one of them is a trusted reference's, and when all are peers'. */
const QUORUM_TRUSTED = 2;
const QUORUM_PEERS = 3;

/** Decides as far as the replays go. The target's own miner is never counted, on either side. */
export function decideVerdict({ target, replays, agrees, exhausted }: VerdictQuestion): Verdict {
  const counted = replays.filter((replay) => replay.hotkey !== target.hotkey).slice(0, MAX_REPLAYS);
  const first = counted[0];
  if (!first) {
    return exhausted
      ? { outcome: 'inconclusive', reason: 'No independent replay of the job could be had.' }
      : { outcome: 'need-replay', reason: 'The job has not been replayed yet.', next: 1 };
  }
  if (agrees(first.digest, target.digest)) {
    return { outcome: 'valid', reason: `The result agrees with the replay by ${nameOf(first)}.` };
  }
  const against = counted.filter((replay) => agrees(replay.digest, first.digest));
  const inFavour = counted.filter((replay) => agrees(replay.digest, target.digest));
  if (convicts(against, inFavour, agrees)) {
    const names = against.map(nameOf).join(', ');
    return {
      outcome: 'invalid',
      reason: `${against.length} replays agree with each other and not with the result: ${names}.`,
    };
  }
  return undecided({ counted, against, inFavour, exhausted });
}

function convicts(against: readonly Replay[], inFavour: readonly Replay[], agrees: VerdictQuestion['agrees']): boolean {
  if (against.some((replay) => replay.by === 'trusted')) {
    return against.length >= QUORUM_TRUSTED && against.length > inFavour.length;
  }
  // A comparator with a tolerance is not transitive: each peer must agree with every other, not only with the first.
  const unanimous = against.every((a) => against.every((b) => agrees(a.digest, b.digest)));
  return against.length >= QUORUM_PEERS && inFavour.length === 0 && unanimous;
}

interface Tally {
  counted: readonly Replay[];
  against: readonly Replay[];
  inFavour: readonly Replay[];
  exhausted: boolean;
}

function undecided({ counted, against, inFavour, exhausted }: Tally): Verdict {
  const tally = `${against.length} of ${counted.length} replays speak against the result, ${inFavour.length} for it`;
  if (counted.length >= MAX_REPLAYS) {
    return { outcome: 'inconclusive', reason: `No quorum: ${tally}.` };
  }
  if (exhausted) return { outcome: 'inconclusive', reason: `No further replay could be had: ${tally}.` };
  return { outcome: 'need-confirmation', reason: `${tally}; a confirmation is due.`, next: missing(counted) };
}

/** A trusted replay wants one confirmation at a time; peers are asked for at once, as all of them are needed. */
function missing(counted: readonly Replay[]): number {
  return counted.some((replay) => replay.by === 'trusted') ? 1 : QUORUM_PEERS - counted.length;
}

/** A peer is not named: the miner reads this, and would know whom to collude with. */
function nameOf(replay: Replay): string {
  return replay.by === 'trusted' ? `the trusted reference ${replay.hotkey}` : 'an independent miner';
}
