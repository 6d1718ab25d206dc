/** Canaries on a test's ground: the real loop, intake and replays; the querier is a stand-in whose miners work at once. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { SubmitJobCommand } from '@studio/shared/contract/submit-job';
import type { InferenceInput, JobInput, JobKind, JobResult, TrainingInput } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';
import { openAuditGround, TEST_POLICY, type AuditGround } from '@studio/shared/testing/audit-ground';
import {
  imageResult,
  someInference,
  someLora,
  someTraining,
  type JobToFinish,
} from '@studio/shared/testing/finished-jobs';
import { StandInQuerier, type Worker } from '@studio/shared/testing/stand-ins';
import { replaysOn } from '../audit.rig';
import { CommitmentStore } from '../commitment.store';
import { DrawStore } from '../draw.store';
import { Intake } from '../intake';
import type { Replays } from '../replays';
import { Canaries } from './canaries';
import { CanaryMaker } from './canary-maker';
import { CanaryMaterialStore } from './canary-material.store';
import { CanaryPlanStore } from './canary-plan.store';
import type { Chance } from './canary-planner';
import { CanaryStore } from './canary.store';
import { readCorpus, type Corpus } from './corpus';

/** As long as the slices are many, so that a slice lasts a second. */
export const EPOCH_S = 288;

/** No draws, so that every audit is a canary's own, unless a test wants them. */
export const CANARY_POLICY: Policy = {
  ...TEST_POLICY,
  epochBlocks: EPOCH_S,
  blockMs: 1_000,
  audit: {
    ...TEST_POLICY.audit,
    probationJobs: 0,
    baseRate: 0,
    trustedRate: 0,
    canary: { floorPerEpoch: 3, knownShare: 0 },
  },
};

export interface CanaryRow {
  id: string;
  epoch: number;
  hotkey: string;
  kind: JobKind;
  state: string;
  outcome: string | null;
  refusal: string | null;
  request: object | null;
  reference: string | null;
  request_key: string;
  job_id: string | null;
}

interface Planned {
  kind?: JobKind;
  reference?: string | null;
}

export class CanaryRig {
  /** Of the loop: what it complained about. */
  readonly warnings: unknown[] = [];
  readonly asked: string[] = [];

  private constructor(
    readonly ground: AuditGround,
    readonly querier: StandInQuerier,
    readonly intake: Intake,
    readonly replays: Replays,
    private readonly corpus: Corpus,
  ) {}

  /** Epoch 1 is open; miners are up to the test. */
  static async open(policy: Policy): Promise<CanaryRig> {
    const ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(policy);
    await ground.jobs.openEpoch(1, policy);
    let now = 0;
    const clock = (): number => (now += 10_000);
    const intake = new Intake(new DrawStore(ground.source), () => undefined, clock);
    const querier = new StandInQuerier(ground.nats, ground.jobs, honest);
    const silent = { info: () => undefined, warn: () => undefined };
    const corpus = await readCorpus(join(__dirname, '../../../../photos'), silent);
    return new CanaryRig(ground, querier, intake, replaysOn(ground), corpus);
  }

  async close(): Promise<void> {
    this.querier.close();
    await this.ground.close();
  }

  canaries(corpus: Corpus = this.corpus, chance: Chance = Math.random): Canaries {
    const { source, nats } = this.ground;
    const log = { warn: (...words: unknown[]) => void this.warnings.push(words) };
    const maker = new CanaryMaker(corpus, new CanaryMaterialStore(source), log, chance);
    return new Canaries({
      plans: new CanaryPlanStore(source),
      store: new CanaryStore(source),
      maker: () => maker,
      nats,
      log,
      events: { asked: ({ kind }, outcome) => void this.asked.push(`${kind} ${outcome}`), audits: () => undefined },
      chance,
    });
  }

  /** Everything that is due, until nothing more happens at this moment. */
  async settle(loops: readonly Canaries[], passes = 3): Promise<void> {
    for (let pass = 0; pass < passes; pass += 1) {
      await Promise.all(
        loops.map(async (loop) => {
          while (await loop.run());
        }),
      );
      while (await this.intake.run());
      await this.replays.run();
    }
  }

  /** Lets so much of the epoch pass, in steps of some slices: of each step one slice is planned. */
  async pass(
    seconds: number,
    loops: readonly Canaries[],
    each: () => Promise<void> = async () => undefined,
    stepS = 4,
  ): Promise<void> {
    for (let s = 0; s < seconds; s += stepS) {
      await each();
      await this.settle(loops, 1);
      await this.ground.advance(stepS);
    }
    await this.settle(loops);
  }

  /** As the planner does, due now. @returns its request key. */
  async plan(hotkey: string, { kind = 'lora-training', reference = null }: Planned = {}): Promise<string> {
    const [row] = await this.ground.query<{ request_key: string }>(
      `INSERT INTO studio.canaries (id, epoch, hotkey, kind, engine, due_at, reference, request_key, answer_key)
       VALUES (gen_random_uuid(), 1, $1, $2, 'ref-sep-v1', studio.now(), $3, gen_random_uuid(), gen_random_uuid())
       RETURNING request_key`,
      [hotkey, kind, reference],
    );
    return row!.request_key;
  }

  rows(where = 'true'): Promise<CanaryRow[]> {
    return this.ground.query<CanaryRow>(`SELECT * FROM studio.canaries WHERE ${where} ORDER BY due_at, id`);
  }

  /** Jobs in the books, by miner and kind. */
  async done(epoch: number): Promise<Record<string, number>> {
    const rows = await this.ground.query<{ lane: string; jobs: number }>(
      `SELECT hotkey || ' ' || kind AS lane, count(*)::int AS jobs FROM studio.draws WHERE epoch = $1 GROUP BY 1`,
      [epoch],
    );
    return Object.fromEntries(rows.map(({ lane, jobs }) => [lane, jobs]));
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The input that the querier would make of a command: the same for the same words. */
export function inputOf({ kind, input, request }: SubmitJobCommand): JobInput {
  if (input) return input;
  if (kind === 'lora-training') return trainingOn(sha256(JSON.stringify(request)));
  const { lora_url, prompt, seed } = request as { lora_url: string; prompt: string; seed: number };
  return { ...someInference(), lora: someLora(sha256(lora_url), lora_url.replace('artifact:', '')), prompt, seed };
}

const trainingOn = (hash: string): JobInput => someTraining(hash, hash);

/** What an honest engine makes of an input. */
export function resultOf(kind: JobKind, input: JobInput): JobResult {
  if (kind === 'lora-training') return { lora: someLora((input as TrainingInput).image.pixelHash) };
  const { lora, prompt, seed } = input as InferenceInput;
  return imageResult(sha256(`${lora.sha256}${prompt}${seed}`));
}

/** Whom routing would choose in a network without other work: who is named, or else `other`. */
export function workerOf({ routing }: SubmitJobCommand, other = 'other'): string {
  return routing.onlyHotkey ?? routing.firstHotkey ?? other;
}

/** Everybody does as asked. */
export const honest: Worker = (command) => done(command, { hotkey: workerOf(command) });

export function done(
  command: SubmitJobCommand,
  by: Pick<JobToFinish, 'hotkey' | 'operator'>,
): Omit<JobToFinish, 'requestKey'> {
  const input = inputOf(command);
  return { ...by, input, result: resultOf(command.kind, input) };
}

/** A small generator with a seed (mulberry32), so that a history can be played again. */
export function chanceFrom(seed: number): Chance {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
