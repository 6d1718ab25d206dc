/** How a finished job of the simulation is filed: whether it is drawn, at which rate, with which u. */
import { createHash } from 'node:crypto';
import { auditRate, isDrawn, wilsonLower } from '@studio/shared/domain/audit-sampling';
import type { Policy } from '@studio/shared/domain/policy';
import { drawU } from '@studio/shared/protocol/draws';
import { fileJobs, lane, minerKind, type DrawRecord } from '@studio/auditor/filing';
import type { Chance } from '../chance';

export interface JobToFile {
  jobId: string;
  hotkey: string;
  epoch: number;
  record: Readonly<DrawRecord>;
}

export interface Draw {
  q: number;
  u: bigint;
  drawn: boolean;
}

export type Draws = (job: JobToFile, chance: Chance) => Draw;

/** The production's rate and bound, u by seeded chance: an HMAC and a row for each of many million jobs take too long. */
export function seededDraws({ audit }: Policy): Draws {
  return ({ record }, chance) => {
    const { passes, audits, jobsSeen, cusum } = record;
    const q = auditRate({ jobsSeen, cusum, wilsonLower: wilsonLower(passes, audits, audit.wilsonZ) }, audit);
    const u = chance.u64();
    return { q, u, drawn: isDrawn(u, q) };
  };
}

const KIND = 'lora-inference';
const ENGINE = 'ref-sep-v1';
const JUDGES = new Map([[lane(KIND, ENGINE), { trusted: true, operators: new Set<string>() }]]);

/** The production's whole filing, with an HMAC under a secret for each epoch. */
export function filedDraws(policy: Policy, seed: string): Draws {
  return ({ jobId, hotkey, epoch, record }) => {
    const secret = secretOf(seed, epoch);
    const records = new Map([[minerKind(hotkey, KIND), record]]);
    const job = {
      jobId,
      attemptNo: 1,
      hotkey,
      operator: hotkey,
      kind: KIND,
      engine: ENGINE,
      timeoutMs: 60_000,
      netUs: 0,
      void: false,
      finishedAt: '2026-01-01 00:00:00+00',
      house: false,
      private: false,
      trusted: false,
      imageHash: null,
      loraSha256: null,
    } as const;
    const known = { records, recentUs: new Map<string, number[]>(), judges: JUDGES };
    const { draws } = fileJobs({ epoch, policy, secret, jobs: [job], ...known }, () => 0);
    const [row] = draws;
    if (!row || row.q === null || row.u === null) throw new Error('the job was filed without a draw');
    return { q: row.q, u: row.u, drawn: row.drawn };
  };
}

export function secretOf(seed: string, epoch: number): Buffer {
  return createHash('sha256').update(`simulation ${seed}, epoch ${epoch}`).digest();
}

/** How far each of the two ways to a u is from the uniform distribution. */
export interface DrawQuality {
  draws: number;
  hmac: number;
  seeded: number;
  /** Exceeded by one in a thousand samples of truly uniform draws. */
  bound: number;
}

/** 1.95 / √n: the 0.1 % point of Kolmogorov and Smirnov's statistic for large n. */
const KS_POINT = 1.95;

export function drawQuality(draws: number, seed: number, chance: Chance): DrawQuality {
  const secret = secretOf(`${seed}`, 1);
  const hmac = Array.from({ length: draws }, (_, i) => share(drawU(secret, `job-${i}`)));
  const seeded = Array.from({ length: draws }, () => share(chance.u64()));
  return { draws, hmac: distance(hmac), seeded: distance(seeded), bound: KS_POINT / Math.sqrt(draws) };
}

const share = (u: bigint): number => Number(u) / 2 ** 64;

/** Kolmogorov and Smirnov's: the largest difference between the sample's distribution and the uniform one. */
function distance(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  return sorted.reduce(
    (most, value, i) => Math.max(most, value - i / sorted.length, (i + 1) / sorted.length - value),
    0,
  );
}
