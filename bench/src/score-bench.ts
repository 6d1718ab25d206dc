/** What a thousand validators cost the registry that ask it for scores, and what weights cost whoever computes them. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { weightsFor } from '@studio/shared/domain/weights';
import { connectNats, requestJson } from '@studio/shared/platform/nats';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { outcomesOf, startChild } from './child';
import { openDatabase } from './database';
import { describeMachine, type Machine } from './machine';
import { startRegistry, type RegistryUnderTest } from './registry-system';
import type { PollingOutcome, PollingRun, ScorePollerConfig } from './score-poller';
import { median, rotated } from './statistics';

export interface PollingLoad {
  name: string;
  run: PollingRun;
  /** Awards a second that come in meanwhile: each makes another board. */
  awards: number;
}

export interface PollingFigures extends PollingOutcome {
  /** Milliseconds for each answer. */
  registryCpuMs: number;
  postgresCpuMs: number;
}

export interface ScoreReport {
  machine: Machine;
  validators: number;
  miners: number;
  rounds: number;
  loads: { load: PollingLoad; rounds: PollingFigures[] }[];
  /** Milliseconds from points to u16, medians. */
  weights: { miners: number; ms: number }[];
}

const VALIDATORS = 1_000;
const MINERS = 256;
const POLLS = 10_000;
const PER_SECOND = 500;

const asFast = { polls: POLLS, perSecond: null };
const steady = { polls: PER_SECOND * 10, perSecond: PER_SECOND };
const LOADS: readonly PollingLoad[] = [
  { name: 'all at once, known', run: { ...asFast, conditional: true }, awards: 0 },
  { name: 'all at once, whole boards', run: { ...asFast, conditional: false }, awards: 0 },
  { name: 'every 2 s, 20 awards/s', run: { ...steady, conditional: true }, awards: 20 },
];

export class ScoreBench {
  private readonly stops: (() => Promise<void>)[] = [];

  constructor(
    private readonly root: string,
    private readonly options: { rounds: number; dataDir: string },
    private readonly say: (line: string) => void,
  ) {}

  async run(): Promise<ScoreReport> {
    const machine = describeMachine();
    const { rounds } = this.options;
    const weights = [256, 10_000, 100_000].map((miners) => ({ miners, ms: weightsMs(miners) }));
    this.say('starting the registry');
    const registry = await startRegistry(this.root, join(this.options.dataDir, 'product'), this.say);
    this.stops.push(() => registry.stop());
    const ledger = await Ledger.open(registry);
    this.stops.push(() => ledger.close());
    for (let miner = 0; miner < MINERS; miner += 1) await ledger.award(miner);
    const config = { registryUrl: registry.url, validators: VALIDATORS, run: null };
    const poller = await startChild<ScorePollerConfig>('score-poller', config);
    this.stops.push(() => poller.stop());
    const outcomeOf: Outcomes = outcomesOf(poller);
    this.say('warming up');
    await outcomeOf({ ...asFast, conditional: true });
    const loads = LOADS.map((load) => ({ load, rounds: [] as PollingFigures[] }));
    for (let round = 0; round < rounds; round += 1) {
      for (const { load, rounds: figures } of rotated(loads, round)) {
        const one = await measure(registry, ledger, load, outcomeOf);
        figures.push(one);
        this.say(`round ${round + 1}: ${load.name}: p99 ${one.p99Ms.toFixed(0)} ms`);
      }
    }
    return { machine, validators: VALIDATORS, miners: MINERS, rounds, loads, weights };
  }

  /** Ends every process that was started, the last first. */
  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0).reverse()) await stop().catch((error: unknown) => this.say(String(error)));
  }
}

/** The auditor's side: an open epoch, and awards as its outbox sends them. */
class Ledger {
  private constructor(
    private readonly nats: Awaited<ReturnType<typeof connectNats>>,
    private readonly epoch: number,
    private readonly policyVersion: number,
  ) {}

  static async open({ url, ownerUrl, natsUrl }: RegistryUnderTest): Promise<Ledger> {
    const owner = openDatabase(ownerUrl, 1);
    await owner.query('INSERT INTO studio.draw_commitments (epoch, commitment) VALUES (1, $1), (2, $1)', [
      sha256Hex('a secret'),
    ]);
    await owner.end();
    const policy = async (): Promise<number> => {
      const reply = await fetch(`${url}/v1/epochs/current`);
      if (!reply.ok) return policy();
      return ((await (await fetch(`${url}/v1/policy`)).json()) as { version: number }).version;
    };
    const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return new Ledger(await connectNats(natsUrl, 'bench', quiet), 1, await policy());
  }

  async award(miner: number): Promise<void> {
    const entry: LedgerEntryMessage = {
      id: randomUUID(),
      type: 'award',
      hotkey: `miner-${miner % MINERS}`,
      kind: miner % 2 === 0 ? 'lora-training' : 'lora-inference',
      jobId: randomUUID(),
      epoch: this.epoch,
      points: String(1_000 * (1 + (miner % 97))),
      reason: 'completed and valid',
      policyVersion: this.policyVersion,
    };
    await requestJson(this.nats, SUBJECTS.appendLedger.subject, { entries: [entry] }, { timeoutMs: 5_000 });
  }

  close(): Promise<void> {
    return this.nats.close();
  }
}

type Outcomes = (run: PollingRun) => Promise<PollingOutcome>;

async function measure(
  registry: RegistryUnderTest,
  ledger: Ledger,
  { run, awards }: PollingLoad,
  outcomeOf: Outcomes,
): Promise<PollingFigures> {
  const before = registry.cpuMs();
  let miner = 0;
  const growing = awards > 0 ? setInterval(() => void ledger.award(miner++), 1_000 / awards) : undefined;
  const outcome = await outcomeOf(run);
  clearInterval(growing);
  const after = registry.cpuMs();
  const each = (of: 'registry' | 'postgres'): number => (after[of] - before[of]) / run.polls;
  return { ...outcome, registryCpuMs: each('registry'), postgresCpuMs: each('postgres') };
}

/** Distinct points, which is the hardest to rank. */
function weightsMs(miners: number): number {
  const scores = new Map(Array.from({ length: miners }, (_, i) => [`5miner${i}`, BigInt((i * 7_919) % 1_000_003)]));
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now();
    weightsFor(scores, { temperature: 0.075 });
    return performance.now() - start;
  });
  return median(times);
}
