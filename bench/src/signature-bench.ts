/**
 * What a flood of signed requests does to the registry: its event loop's delay, and what it answers. Three loads take
 * turns in every round: genuine requests and forged ones, checked in the threads, and genuine ones checked on the event
 * loop in pure JavaScript, which is what the threads are there for.
 */
import { join } from 'node:path';
import { outcomesOf, startChild } from './child';
import { describeMachine, type Machine } from './machine';
import { startRegistry, type LoopDelay, type RegistryCpu, type RegistryUnderTest } from './registry-system';
import type { SignedOutcome, SignedSenderConfig } from './signed-sender';
import { rotated } from './statistics';

export interface SignaturePlan {
  rounds: number;
  perSecond: number;
  seconds: number;
  miners: number;
}

export interface SignatureLoad {
  name: string;
  forged: boolean;
  onLoop: boolean;
}

export interface SignatureFigures extends SignedOutcome {
  delay: LoopDelay;
  /** Milliseconds for each request that was answered. */
  cpuMs: RegistryCpu;
}

export interface SignatureReport {
  machine: Machine;
  plan: SignaturePlan;
  /** The registry left alone for as long as a load lasts. */
  idle: LoopDelay;
  loads: { load: SignatureLoad; rounds: SignatureFigures[] }[];
}

/** A thousand miners that renew themselves every two seconds. */
const PER_SECOND = 500;
const SECONDS = 10;
const MINERS = 500;

const LOADS: readonly SignatureLoad[] = [
  { name: 'genuine, in threads', forged: false, onLoop: false },
  { name: 'forged, in threads', forged: true, onLoop: false },
  { name: 'genuine, on the event loop', forged: false, onLoop: true },
];

export class SignatureBench {
  private readonly stops: (() => Promise<void>)[] = [];

  constructor(
    private readonly root: string,
    private readonly options: { rounds: number; dataDir: string },
    private readonly say: (line: string) => void,
  ) {}

  async run(): Promise<SignatureReport> {
    const machine = describeMachine();
    const plan = { rounds: this.options.rounds, perSecond: PER_SECOND, seconds: SECONDS, miners: MINERS };
    this.say('starting the registry');
    const registry = await startRegistry(this.root, join(this.options.dataDir, 'product'), this.say);
    this.stops.push(() => registry.stop());
    const config = { registryUrl: registry.url, recipient: registry.identity, miners: MINERS, run: null };
    const sender = await startChild<SignedSenderConfig>('signed-sender', config);
    this.stops.push(() => sender.stop());
    const outcomes: Outcomes = outcomesOf(sender);
    this.say('warming up');
    await outcomes({ perSecond: PER_SECOND / 5, seconds: SECONDS, forged: false });
    const idle = await idleDelay(registry);
    const loads = LOADS.map((load) => ({ load, rounds: [] as SignatureFigures[] }));
    for (let round = 0; round < plan.rounds; round += 1) {
      for (const { load, rounds } of rotated(loads, round)) {
        const figures = await measureLoad(registry, load, outcomes);
        rounds.push(figures);
        this.say(`round ${round + 1}: ${load.name}: event loop p99 ${figures.delay.p99Ms.toFixed(1)} ms`);
      }
    }
    return { machine, plan, idle, loads };
  }

  /** Ends every process that was started, the last first. */
  async stop(): Promise<void> {
    for (const stop of this.stops.splice(0).reverse()) await stop().catch((error: unknown) => this.say(String(error)));
  }
}

type Outcomes = (run: NonNullable<SignedSenderConfig['run']>) => Promise<SignedOutcome>;

async function idleDelay(registry: RegistryUnderTest): Promise<LoopDelay> {
  await registry.loopDelay();
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  return registry.loopDelay();
}

async function measureLoad(
  registry: RegistryUnderTest,
  { forged, onLoop }: SignatureLoad,
  outcomes: Outcomes,
): Promise<SignatureFigures> {
  registry.verifyOnLoop(onLoop);
  await registry.loopDelay();
  const before = registry.cpuMs();
  const outcome = await outcomes({ perSecond: PER_SECOND, seconds: SECONDS, forged });
  const delay = await registry.loopDelay();
  const after = registry.cpuMs();
  registry.verifyOnLoop(false);
  const each = (of: keyof RegistryCpu): number => (after[of] - before[of]) / outcome.answered;
  return { ...outcome, delay, cpuMs: { loop: each('loop'), registry: each('registry'), postgres: each('postgres') } };
}
