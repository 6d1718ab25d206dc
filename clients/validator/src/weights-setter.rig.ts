import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { weightsFor } from '@studio/shared/domain/weights';
import { startMockPylon, type MockPylon, type MockPylonOptions } from '@studio/shared/testing/mock-pylon';
import type { Clock } from './clock';
import { PylonClient } from './pylon-client';
import type { CheckedSnapshot } from './snapshot-check';
import type { WrittenWeights } from './weights-file';
import { WeightsSetter, type SetterOptions } from './weights-setter';
import { PylonTarget } from './weights-target';

export const EPOCH = 72 * 60_000;
export const START = Date.UTC(2026, 0, 1);
export const NETUID = 11;
const IDENTITY = { name: 'sn11', token: 'secret' };

/** Time that passes by being waited for: a day of outage takes milliseconds, and each moment is the same in every run. */
export class VirtualClock implements Clock {
  readonly over = new AbortController();
  private time = START;
  private readonly plan: { at: number; act: () => unknown }[] = [];

  constructor(private readonly endMs: number) {}

  now(): number {
    return this.time;
  }

  /** Something that happens while others wait. */
  at(ms: number, act: () => unknown): void {
    this.plan.push({ at: ms, act });
    this.plan.sort((a, b) => a.at - b.at);
  }

  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const end = this.time + Math.max(ms, 0);
    while (!signal.aborted && (this.plan[0]?.at ?? Infinity) <= end) {
      const { at, act } = this.plan.shift()!;
      this.time = Math.max(this.time, at);
      await act();
    }
    if (!signal.aborted) this.time = end;
    if (this.time >= this.endMs) this.over.abort();
  }
}

export function checked(epoch: number, points: Record<string, bigint>): CheckedSnapshot {
  const { outcome, miners } = weightsFor(new Map(Object.entries(points)), { temperature: 1 });
  const sent = miners.filter(({ u16 }) => u16 > 0);
  return {
    weights: {
      epoch,
      outcome,
      hotkeys: sent.map(({ hotkey }) => hotkey),
      weights: sent.map(({ u16 }) => u16),
      snapshot_sha256: 'ab',
    },
    miners: miners.map(({ hotkey, points: sum, winRate, weight, u16 }) => ({
      hotkey,
      points: String(sum),
      points_by_kind: { 'lora-training': String(sum), 'lora-inference': '0' },
      valid_jobs: 1,
      win_rate: winRate,
      weight,
      u16,
    })),
    epochMs: EPOCH,
    emptyBecause: outcome === 'OK' ? null : 'no miner has a valid job',
  };
}

export const neurons = (...hotkeys: string[]) =>
  hotkeys.map((hotkey, index) => ({ hotkey, uid: 10 * index, coldkey: 'cold', stake: 1 }));

/** A setter beside a sidecar, with its memory in a directory that outlives it. */
export class SetterRig {
  readonly said: string[] = [];
  readonly say = (text: string): void => void this.said.push(text);

  private constructor(
    readonly directory: string,
    readonly pylon: MockPylon,
  ) {}

  static async open(options: Partial<MockPylonOptions> = {}): Promise<SetterRig> {
    const directory = await mkdtemp(join(tmpdir(), 'setter-'));
    const pylon = await startMockPylon({ netuid: NETUID, identity: IDENTITY, ...options });
    pylon.answer = { block: 720, neurons: neurons('ada', 'ben', 'cleo') };
    return new SetterRig(directory, pylon);
  }

  client(token = IDENTITY.token): PylonClient {
    return new PylonClient({ url: this.pylon.url, netuid: NETUID, identity: IDENTITY.name, token });
  }

  /** A process: the next one of the same rig is its restart. */
  setter(clock: Clock, more: Partial<SetterOptions> = {}): Promise<WeightsSetter> {
    return WeightsSetter.open(this.directory, {
      target: new PylonTarget(this.client(), { path: this.outFile }),
      rhythm: { every: 'epoch' },
      maxAgeEpochs: 20,
      clock,
      say: this.say,
      ...more,
    });
  }

  get outFile(): string {
    return join(this.directory, 'weights.json');
  }

  async written(): Promise<WrittenWeights> {
    return JSON.parse(await readFile(this.outFile, 'utf8')) as WrittenWeights;
  }

  /** Requests to put weights, taken or not. */
  get puts(): number {
    return this.pylon.asked.filter((line) => line.startsWith('PUT ')).length;
  }

  close(): Promise<unknown> {
    return Promise.all([this.pylon.close(), rm(this.directory, { recursive: true })]);
  }
}
