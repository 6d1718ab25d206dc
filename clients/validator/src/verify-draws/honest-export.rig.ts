/**
 * An auditor that draws as it should, in memory: what it would export, and the awards of its ledger. Its own arithmetic, so
 * that an error of the verifier would have to be made twice.
 */
import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import type { DrawExportHeader, DrawExportRow, DrawnFrom } from '@studio/shared/contract/draws';
import type { JobKind } from '@studio/shared/domain/job';
import { DEFAULT_POLICY, type Policy } from '@studio/shared/domain/policy';
import type { Award } from './draw-verifier';

export interface HonestExport {
  header: DrawExportHeader;
  rows: DrawExportRow[];
  awards: Map<string, Award>;
}

/** Few jobs show every rate: probation is short, and twelve passes make trust. */
export const RIG_POLICY: Policy = {
  ...DEFAULT_POLICY,
  version: 9,
  audit: {
    ...DEFAULT_POLICY.audit,
    floorPerEpoch: 5,
    probationJobs: 2,
    baseRate: 0.4,
    trustedRate: 0.2,
    trustedWilson: 0.8,
  },
};

const MINERS = ['ada', 'ben'];
const KINDS: JobKind[] = ['lora-training', 'lora-inference'];

/** One thing that happens. `batch` draws every job that has finished since the last. */
export interface Step {
  what: 'job' | 'batch' | 'passes' | 'failure' | 'quarantine' | 'late quarantine' | 'correction' | 'copy' | 'replay';
  miner: number;
  kind: number;
  jobId: string;
}

interface Miner extends DrawnFrom {
  hotkey: string;
  kind: JobKind;
}

export class HonestAuditor {
  readonly rows: DrawExportRow[] = [];
  readonly rewrites: DrawExportHeader['rewrites'] = [];
  private readonly secret: Buffer;
  private readonly miners: Miner[];
  private pending: { miner: Miner; jobId: string; finishedAt: string }[] = [];
  private readonly lateQuarantines = new Set<string>();
  private clock = 0;

  constructor(
    seed: string,
    readonly epoch: number,
    before: DrawnFrom,
  ) {
    this.secret = createHash('sha256').update(seed).digest();
    const start = epoch === 1 ? { jobs_seen: 0, audits: 0, passes: 0, cusum: 0 } : before;
    this.miners = MINERS.flatMap((hotkey) => KINDS.map((kind) => ({ hotkey, kind, ...start })));
  }

  run(steps: readonly Step[]): HonestExport {
    for (const step of steps) this.take(step);
    this.draw();
    this.fillFloors();
    for (const { what, jobId } of steps) if (what === 'copy') this.suspect(jobId, false);
    this.rows.sort((a, b) => (a.job_id < b.job_id ? -1 : 1));
    const awards = this.rows.map(({ job_id: jobId, hotkey, kind, points, policy_version: policyVersion }) => {
      return [jobId, { hotkey, kind, points, policyVersion }] as const;
    });
    const header = {
      epoch: this.epoch,
      commitment: createHash('sha256').update(this.secret).digest('hex'),
      secret: this.secret.toString('hex'),
      policy: RIG_POLICY,
      rows: this.rows.length,
      rewrites: this.rewrites,
    };
    return { header, rows: this.rows, awards: new Map(awards) };
  }

  private take({ what, miner: index, kind, jobId }: Step): void {
    const miner = this.miners[index * KINDS.length + kind]!;
    switch (what) {
      case 'job':
        this.pending.push({ miner, jobId, finishedAt: this.now(jobId.charCodeAt(0) % 2) });
        return;
      case 'batch':
        return this.draw();
      case 'passes':
        for (let n = 0; n < 4; n += 1) this.count(miner, false);
        return;
      case 'failure':
        return this.count(miner, true);
      case 'quarantine':
        return this.quarantine(miner.hotkey);
      case 'late quarantine':
        this.lateQuarantines.add(miner.hotkey);
        return;
      case 'correction':
        return this.correct(miner.hotkey);
      case 'copy':
        return this.suspect(jobId, true);
      case 'replay':
        return this.replay(jobId, miner);
    }
  }

  private count(miner: Miner, failed: boolean): void {
    miner.audits += 1;
    miner.passes += failed ? 0 : 1;
    miner.cusum = Math.max(0, miner.cusum + (failed ? 3.912 : -0.0503));
  }

  private quarantine(hotkey: string): void {
    this.rewrites.push({ hotkey, at: this.now(), why: 'quarantine' });
    for (const miner of this.miners.filter((one) => one.hotkey === hotkey)) {
      Object.assign(miner, { jobs_seen: 0, audits: 0, passes: 0, cusum: 0 });
    }
  }

  private correct(hotkey: string): void {
    this.rewrites.push({ hotkey, at: this.now(), why: 'correction' });
    for (const miner of this.miners.filter((one) => one.hotkey === hotkey)) {
      Object.assign(miner, { jobs_seen: miner.jobs_seen + 3, audits: miner.passes, cusum: 0 });
    }
  }

  /** A quarantine that comes between a batch's reading and its writing: what is counted on top of it is the batch. */
  private draw(): void {
    const known = new Map(this.miners.map((miner) => [miner, { ...miner }]));
    for (const hotkey of this.lateQuarantines) this.quarantine(hotkey);
    this.lateQuarantines.clear();
    const takenAt = this.now();
    const jobs = this.pending.sort((a, b) => (a.finishedAt + a.jobId < b.finishedAt + b.jobId ? -1 : 1));
    this.pending = [];
    for (const { miner, jobId, finishedAt } of jobs) {
      const { hotkey: _h, kind: _k, ...record } = known.get(miner)!;
      known.get(miner)!.jobs_seen += 1;
      miner.jobs_seen += 1;
      this.rows.push({ ...this.drawn(jobId, record), ...this.facts(miner, jobId, finishedAt, takenAt) });
    }
  }

  private drawn(jobId: string, record: DrawnFrom) {
    const { audit } = RIG_POLICY;
    const { audits: n, passes } = record;
    const [p, z2] = [passes / n, audit.wilsonZ * audit.wilsonZ];
    const spread = audit.wilsonZ * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
    const lower = passes === 0 ? 0 : (p + z2 / (2 * n) - spread) / (1 + z2 / n);
    const earned = lower >= audit.trustedWilson ? audit.trustedRate : audit.baseRate;
    const q = record.jobs_seen < audit.probationJobs || record.cusum > 0 ? 1 : earned;
    const u = createHmac('sha256', this.secret).update(jobId).digest().readBigUInt64BE();
    const drawn = u < BigInt(Math.floor(q * 2 ** 64));
    const audit1 = drawn ? { audited: 'draw' as const, outcome: 'valid' as const } : { audited: null, outcome: null };
    return { q, u: u.toString(), record, drawn, ...audit1, replay_of: null };
  }

  private facts({ hotkey, kind }: Pick<Miner, 'hotkey' | 'kind'>, jobId: string, finishedAt: string, takenAt: string) {
    return {
      job_id: jobId,
      hotkey,
      kind,
      engine: 'ref-sep-v1' as const,
      attempt: 1,
      points: String(1_000 + this.rows.length),
      latency_us: 5,
      policy_version: RIG_POLICY.version,
      finished_at: finishedAt,
      taken_at: takenAt,
    };
  }

  /** @param early before the floor was filled. The jobs are chosen by the id, half of them each. */
  private suspect(jobId: string, early: boolean): void {
    const undrawn = this.rows.filter(({ q, audited }) => q !== null && audited === null);
    const row = undrawn[jobId.charCodeAt(1) % 3];
    if (row && early === jobId.charCodeAt(0) % 2 > 0) Object.assign(row, { audited: 'copy', outcome: 'inconclusive' });
  }

  private replay(jobId: string, miner: Miner): void {
    const target = this.rows.findLast(({ audited }) => audited === 'draw');
    if (!target) return;
    const undrawn = { q: null, u: null, record: null, drawn: false, audited: null, outcome: null };
    this.rows.push({ ...this.facts(miner, jobId, this.now(), this.now()), ...undrawn, replay_of: target.job_id });
  }

  private fillFloors(): void {
    for (const { hotkey, kind } of this.miners) {
      const own = this.rows.filter((row) => row.hotkey === hotkey && row.kind === kind && row.u !== null);
      const free = own.filter(({ audited }) => audited === null);
      const missing = Math.max(0, RIG_POLICY.audit.floorPerEpoch - (own.length - free.length));
      free.sort((a, b) => (BigInt(a.u!) < BigInt(b.u!) ? -1 : 1));
      for (const row of free.slice(0, missing)) Object.assign(row, { audited: 'floor', outcome: 'valid' });
    }
  }

  /** Microseconds since a second. */
  private now(later = 1): string {
    this.clock += later;
    return `2026-01-01T00:00:00.${String(this.clock).padStart(6, '0')}Z`;
  }
}

const step = (what: fc.Arbitrary<Step['what']>): fc.Arbitrary<Step> =>
  fc.record({ what, miner: fc.nat(MINERS.length - 1), kind: fc.nat(KINDS.length - 1), jobId: fc.uuid() });

const COMMON = fc.oneof(
  { weight: 7, arbitrary: fc.constant<Step['what']>('job') },
  { weight: 5, arbitrary: fc.constantFrom<Step['what'][]>('batch', 'batch', 'passes', 'failure', 'replay') },
  { weight: 1, arbitrary: fc.constant<Step['what']>('copy') },
);
const ALL = fc.oneof(
  { weight: 8, arbitrary: COMMON },
  { weight: 1, arbitrary: fc.constantFrom<Step['what'][]>('quarantine', 'late quarantine', 'correction') },
);

/** @param rewritten whether records are rewritten on the way. */
export function anyExport(rewritten = true): fc.Arbitrary<HonestExport> {
  const before = fc.record({
    jobs_seen: fc.nat(9),
    audits: fc.nat(20),
    passes: fc.nat(20),
    cusum: fc.constant(0),
  });
  const steps = fc.uniqueArray(step(rewritten ? ALL : COMMON), {
    selector: ({ jobId }) => jobId,
    minLength: 60,
    maxLength: 90,
  });
  return fc.tuple(fc.string(), fc.integer({ min: 1, max: 4 }), before, steps).map(([seed, epoch, known, list]) => {
    const passes = Math.min(known.passes, known.audits);
    return new HonestAuditor(seed, epoch, { ...known, passes }).run(list);
  });
}
