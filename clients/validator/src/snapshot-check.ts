/**
 * Snapshot → weights, or a refusal. Nothing in a snapshot is taken on trust: its points must be those of the validator's
 * own copy of the log, and its win rates, shares and u16 values those that the published formulas give, bit for bit.
 */
import type { MetagraphView, MinerScore, ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { DEFAULT_POLICY, epochMs, type Policy } from '@studio/shared/domain/policy';
import type { MinerScore as OwnScore } from '@studio/shared/domain/score-window';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { weightsFor, type MinerWeight, type WeightsOutcome } from '@studio/shared/domain/weights';
import { canonicalJson, sha256Hex } from '@studio/shared/protocol/canonical';
import type { LedgerCopy } from './ledger-copy';

/** What goes to the chain: hotkeys and their weights in parallel, zeros left out. */
export interface EpochWeights {
  epoch: number;
  outcome: WeightsOutcome;
  hotkeys: string[];
  weights: number[];
  snapshot_sha256: string;
}

/** A snapshot that was recomputed and found right. */
export interface CheckedSnapshot {
  weights: EpochWeights;
  /** Everybody who is scored, in hotkey order. */
  miners: MinerScore[];
  epochMs: number;
  /** Why nobody is weighted; null where somebody is. */
  emptyBecause: string | null;
}

export type Verdict = ({ ok: true } & CheckedSnapshot) | { ok: false; problems: string[] };

/** A refusal names this many differences; one is enough to refuse. */
const MAX_PROBLEMS = 10;

/** @param copy the sums of every event before `event`, and of no other. */
export function checkSnapshot(body: string, event: ScoreEvent, copy: LedgerCopy): Verdict {
  const problems = textProblems(body, event);
  if (problems.length > 0) return { ok: false, problems };
  try {
    return judge(JSON.parse(body) as Snapshot, event, copy);
  } catch (error) {
    // A field that is missing or of another type: policies and scores reach the formulas as they came.
    return { ok: false, problems: [`the snapshot cannot be read: ${(error as Error).message}`] };
  }
}

function textProblems(body: string, { epoch, sha256 }: ScoreEvent): string[] {
  const hash = sha256Hex(body);
  if (hash !== sha256) return [`the snapshot of epoch ${epoch} has the hash ${hash}, the log announced ${sha256}`];
  try {
    return canonicalJson(JSON.parse(body)) === body ? [] : ['the snapshot is not canonical JSON (RFC 8785)'];
  } catch {
    return ['the snapshot is not JSON'];
  }
}

function judge(snapshot: Snapshot, event: ScoreEvent, copy: LedgerCopy): Verdict {
  const { policy, draw, metagraph } = snapshot;
  const unsound = metagraphProblems(metagraph);
  if (unsound.length > 0) return { ok: false, problems: unsound };
  const scored = copy.scores({ epoch: event.epoch, windowEpochs: policy.windowEpochs });
  const own = members(scored, metagraph);
  const points = new Map([...own].map(([hotkey, score]) => [hotkey, score.points]));
  const { outcome, miners } = weightsFor(points, policy);
  const problems = [
    ...differs('epoch', snapshot.epoch, event.epoch),
    ...differs('ledger_seq', snapshot.ledger_seq, event.seq - 1),
    ...differs('outcome', snapshot.outcome, outcome),
    ...differs('SHA-256 of draw.secret', draw.commitment, sha256Hex(Buffer.from(draw.secret, 'hex'))),
    ...differs('number of miners', snapshot.miners.length, miners.length),
    ...miners.flatMap((miner, index) => minerProblems(snapshot.miners[index], miner, own.get(miner.hotkey))),
  ];
  if (problems.length > 0) return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
  const sent = miners.filter(({ u16 }) => u16 > 0);
  return {
    ok: true,
    weights: {
      epoch: event.epoch,
      outcome,
      hotkeys: sent.map(({ hotkey }) => hotkey),
      weights: sent.map(({ u16 }) => u16),
      snapshot_sha256: event.sha256 ?? '',
    },
    miners: snapshot.miners,
    epochMs: lengthOfEpoch(policy),
    emptyBecause: outcome === 'OK' ? null : emptiness(scored.size, policy),
  };
}

/** The policy is the registry's word: an epoch of no length would have the clock run wild. */
function lengthOfEpoch(policy: Policy): number {
  const length = epochMs(policy);
  return length >= 1 && length < Infinity ? length : epochMs(DEFAULT_POLICY);
}

function emptiness(scored: number, { windowEpochs }: Policy): string {
  const window = windowEpochs === 0 ? 'since the beginning' : `in the ${windowEpochs} epochs of the window`;
  if (scored === 0) return `no miner has a valid job ${window}`;
  return `none of the ${scored} miners with a valid job ${window} is in the metagraph of the snapshot`;
}

/** Who left the subnet is not weighted, whatever the log still holds of it. Null: there is no metagraph to ask. */
function members(scores: Map<string, OwnScore>, metagraph: MetagraphView | null): Map<string, OwnScore> {
  if (metagraph === null) return scores;
  return new Map([...scores].filter(([hotkey]) => Object.hasOwn(metagraph.uids, hotkey)));
}

/** Two hotkeys with one uid would get each other's weight on the chain. */
function metagraphProblems(metagraph: unknown): string[] {
  if (metagraph === null) return [];
  const { block, uids } = (metagraph ?? {}) as Partial<MetagraphView>;
  if (typeof uids !== 'object' || uids === null) return ['metagraph has to be null or name the uids of its members'];
  const numbers = Object.values(uids);
  const isNumber = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  return [
    ...(block === null || isNumber(block) ? [] : ['metagraph.block is no block number']),
    ...(numbers.every(isNumber) ? [] : ['metagraph.uids holds what is no uid']),
    ...(new Set(numbers).size === numbers.length ? [] : ['metagraph.uids gives a uid twice']),
  ];
}

/** Both are in hotkey order. */
function minerProblems(theirs: MinerScore | undefined, ours: MinerWeight, own: OwnScore | undefined): string[] {
  if (theirs?.hotkey !== ours.hotkey) return differs('hotkey', theirs?.hotkey, ours.hotkey);
  const of = (what: string, a: unknown, b: unknown): string[] => differs(`${what} of ${ours.hotkey}`, a, b);
  return [
    ...of('points', theirs.points, ours.points.toString()),
    ...JOB_KINDS.flatMap((kind) =>
      of(`${kind} points`, theirs.points_by_kind[kind], (own?.pointsByKind[kind] ?? 0n).toString()),
    ),
    ...of('valid jobs', theirs.valid_jobs, own?.validJobs),
    ...of('win rate', theirs.win_rate, ours.winRate),
    ...of('weight', theirs.weight, ours.weight),
    ...of('u16', theirs.u16, ours.u16),
  ];
}

function differs(what: string, theirs: unknown, ours: unknown): string[] {
  return Object.is(theirs, ours) ? [] : [`${what} is ${String(theirs)}, recomputed ${String(ours)}`];
}
