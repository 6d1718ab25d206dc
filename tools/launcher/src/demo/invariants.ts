/**
 * The invariants of ARCHITECTURE.md that one run can check, each from evidence gathered outside the services. Pure.
 * The names are what `npm start -- --json` reports.
 */
import { createHash, createHmac } from 'node:crypto';
import type { Snapshot } from '@studio/shared/contract/scores';
import type { LedgerEntryType } from '@studio/shared/domain/score-window';
import { findTaskKind } from '@studio/shared/domain/task-kinds';
import type { AwardRow, Evidence, LedgerRowText } from './evidence';
import type { MinerSummary } from './miner-summary';
import type { AuditReport } from './operator-client';
import { recomputeWeights, type RecomputedWeight } from './recompute';

export interface Case {
  evidence: Evidence;
  snapshot: Snapshot;
  submitted: readonly string[];
  /** Ids that submitting again with the same Idempotency-Key gave, in the order of `submitted`. */
  resubmitted: readonly string[];
  audits: readonly AuditReport[];
  dishonest: MinerSummary;
  miners: readonly MinerSummary[];
}

const TERMINAL = new Set(['succeeded', 'failed', 'cancelled', 'expired']);
/** Seed §3.1: results slower than 90 % of the timeout earn nothing. */
const CUTOFF = { numerator: 9n, denominator: 10n };
/** Shares may differ from Math.exp's by rounding only. */
const SHARE_TOLERANCE = 1e-12;

export function checkInvariants(c: Case): Record<string, boolean> {
  const { evidence, snapshot } = c;
  return {
    everyAcceptedJobExists: c.submitted.every((id) => evidence.jobs.some((job) => job.id === id)),
    sameKeyGivesSameJob: c.resubmitted.length > 0 && c.resubmitted.every((id, index) => id === c.submitted[index]),
    oneTerminalStateInTime: endedInTime(c),
    oneAcceptedAttemptPerSuccess: evidence.jobs.every(
      (job) => job.open === 0 && job.accepted === (job.state === 'succeeded' ? 1 : 0),
    ),
    oneAwardAndOneReversalAtMost: atMostOnce(evidence.ledger),
    everyReversalUndoesItsAward: undoes(evidence.ledger, 'reversal', 'award'),
    everyRestorationUndoesItsReversal: undoes(evidence.ledger, 'restoration', 'reversal'),
    onlyValidResultsEarn: evidence.awards.every((row) => row.state === 'succeeded' && row.attempt_state === 'accepted'),
    pointsFollowTheLatencyCurve: evidence.awards.every((row) => BigInt(row.points) === expectedPoints(row)),
    scoreEventsAreGapFree: gapFree(evidence.httpEvents) && gapFree(evidence.streamEvents),
    streamEqualsPostgresLog: JSON.stringify(evidence.streamEvents) === JSON.stringify(evidence.httpEvents),
    ledgerEqualsPublishedServedCached: sumsAgree(evidence, snapshot),
    weightsEqualRecomputation: weightsAgree(c),
    validatorEqualsRegistry: validatorAgrees(c),
    drawsFollowTheRevealedSecret: drawsVerify(evidence, snapshot),
    everyDrawnAuditHasItsVerdict: c.audits.every(({ outcome }) => outcome !== null),
    everyInvalidVerdictHasAReason: c.audits.every(({ outcome, reason }) => outcome !== 'invalid' || Boolean(reason)),
    honestMinersLostNothing: c.miners.every(
      (miner) => miner === c.dishonest || (miner.reversed === '0' && miner.verdicts.invalid === 0),
    ),
    dishonestMinerLeftWithNothing: c.dishonest.points === '0' && c.dishonest.u16 === 0,
    trustedReferenceIsUnpaid: evidence.trustedPoints === '0',
    exportOfTheEpochVerifies: evidence.exported.report.ok && evidence.exported.report.name === String(snapshot.epoch),
  };
}

function endedInTime({ evidence, snapshot }: Case): boolean {
  return evidence.jobs.every(
    (job) => TERMINAL.has(job.state) && job.late_ms !== null && job.late_ms <= 2 * snapshot.policy.leaseMs,
  );
}

function atMostOnce(ledger: readonly LedgerRowText[]): boolean {
  return new Set(ledger.map((row) => `${row.job_id}/${row.type}`)).size === ledger.length;
}

/** Every entry of one type takes back exactly what an earlier one of the other type did for the same job. */
function undoes(ledger: readonly LedgerRowText[], type: LedgerEntryType, undone: LedgerEntryType): boolean {
  const before = new Map(ledger.filter((row) => row.type === undone).map((row) => [row.job_id, row]));
  return ledger
    .filter((row) => row.type === type)
    .every((row) => {
      const entry = before.get(row.job_id);
      return (
        entry?.hotkey === row.hotkey &&
        entry.epoch === row.epoch &&
        Number(entry.seq) < Number(row.seq) &&
        BigInt(entry.points) === -BigInt(row.points)
      );
    });
}

/** ⌊weight · max(0, C − ℓ) / C⌋ with C = 0.9 · T_max in microseconds. */
function expectedPoints(row: AwardRow): bigint {
  const weight = BigInt(findTaskKind(row.kind, 'ref-sep-v1')!.weightMicro);
  const cutoff = (BigInt(row.timeout_ms) * 1_000n * CUTOFF.numerator) / CUTOFF.denominator;
  const left = cutoff - BigInt(row.latency_us);
  return left > 0n ? (weight * left) / cutoff : 0n;
}

function gapFree(events: Evidence['httpEvents']): boolean {
  return events.length > 0 && events.every((event, index) => event.seq === index + 1);
}

/** Published = the log; served and cached = the part of it inside the open epoch's window. */
function sumsAgree({ ledger, httpEvents, served, cached }: Evidence, { policy }: Snapshot): boolean {
  const { windowEpochs } = policy;
  const inWindow = ledger.filter((row) => windowEpochs === 0 || row.epoch > served.epoch - windowEpochs);
  const expected = sums(inWindow);
  return (
    same(sums(ledger), sums(httpEvents.filter((event) => event.type !== 'snapshot'))) &&
    same(expected, new Map(served.miners.map((miner) => [miner.hotkey, miner.points]))) &&
    same(expected, cached)
  );
}

function sums(rows: readonly { hotkey?: string; points?: string }[]): Map<string, string> {
  const totals = new Map<string, bigint>();
  for (const { hotkey, points } of rows) totals.set(hotkey!, (totals.get(hotkey!) ?? 0n) + BigInt(points!));
  return new Map([...totals].map(([hotkey, total]) => [hotkey, total.toString()]));
}

function same(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  const keys = new Set([...one.keys(), ...other.keys()]);
  return [...keys].every((key) => (one.get(key) ?? '0') === (other.get(key) ?? '0'));
}

function weightsAgree({ evidence, snapshot }: Case): boolean {
  const rows = evidence.ledger
    .filter((row) => Number(row.seq) <= snapshot.ledger_seq)
    .map((row) => ({ ...row, points: BigInt(row.points) }));
  const { windowEpochs, temperature } = snapshot.policy;
  const expected = recomputeWeights(rows, snapshot.epoch, windowEpochs, temperature);
  return (
    expected.length === snapshot.miners.length && expected.every((row, index) => agrees(row, snapshot.miners[index]!))
  );
}

function agrees(expected: RecomputedWeight, actual: Snapshot['miners'][number]): boolean {
  return (
    expected.hotkey === actual.hotkey &&
    expected.points.toString() === actual.points &&
    expected.winRate === actual.win_rate &&
    Math.abs(expected.share - actual.weight) <= SHARE_TOLERANCE &&
    expected.u16 === actual.u16
  );
}

function validatorAgrees({ evidence, snapshot }: Case): boolean {
  const event = evidence.httpEvents.find(({ type, epoch }) => type === 'snapshot' && epoch === snapshot.epoch);
  const expected = snapshot.miners.filter((miner) => miner.u16 > 0);
  const { weights } = evidence;
  return (
    weights?.epoch === snapshot.epoch &&
    weights.snapshot_sha256 === event?.sha256 &&
    weights.hotkeys.length === expected.length &&
    expected.every((miner) => weights.weights[weights.hotkeys.indexOf(miner.hotkey)] === miner.u16)
  );
}

/** The secret is the one committed to, and every draw of the epoch is what it gives. */
function drawsVerify({ draws }: Evidence, { draw, epoch }: Snapshot): boolean {
  const secret = Buffer.from(draw.secret, 'hex');
  if (createHash('sha256').update(secret).digest('hex') !== draw.commitment) return false;
  return draws
    .filter((row) => row.epoch === epoch)
    .every((row) => {
      const u = createHmac('sha256', secret).update(row.job_id).digest().readBigUInt64BE();
      const drawn = row.q >= 1 || u < BigInt(Math.floor(row.q * 2 ** 64));
      return u.toString() === row.u && drawn === row.drawn;
    });
}
