import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MinerCapacity } from '@studio/shared/contract/miner-job';
import type { MinerOffer } from '@studio/shared/contract/miners';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import type { JobDesk } from './job-desk';
import type { Orchestrator } from './orchestrator';

export interface StatusParts {
  hotkey: Hotkey;
  offers: readonly MinerOffer[];
  desk: JobDesk;
  orchestrator: Orchestrator;
  /** Whether the last registration succeeded; undefined where there is no registry. */
  registered(): boolean | undefined;
  startedMs: number;
}

/** `GET /v1/health`: what an operator wants to see at a glance. Nothing in it is secret. */
export interface MinerHealth {
  status: 'ok';
  hotkey: string;
  version: string;
  uptime_s: number;
  engines: Engine[];
  /** Whose jobs are taken; null: anybody's. */
  orchestrator: string | null;
  registered: boolean | null;
  slots: Partial<Record<JobKind, { used: number; of: number }>>;
  /** Results that are made and not yet delivered. */
  undelivered: number;
}

const { version } = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8')) as { version: string };

export function health(parts: StatusParts): MinerHealth {
  const { hotkey, offers, desk, orchestrator } = parts;
  const slots = Object.entries(slotsByKind(offers)) as [JobKind, number][];
  return {
    status: 'ok',
    hotkey: hotkey.address,
    version,
    uptime_s: Math.floor((Date.now() - parts.startedMs) / 1000),
    engines: [...new Set(offers.map(({ engine }) => engine))],
    orchestrator: orchestrator.enforced ? (orchestrator.hotkey ?? 'not yet known') : null,
    registered: parts.registered() ?? null,
    slots: Object.fromEntries(slots.map(([kind, of]) => [kind, { used: desk.busy(kind), of }])),
    undelivered: desk.undelivered,
  };
}

/** Engines of one kind share its slots: the desk counts by kind. */
export function capacity(offers: readonly MinerOffer[]): MinerCapacity {
  const kinds: MinerCapacity['kinds'] = {};
  for (const [kind, slots] of Object.entries(slotsByKind(offers)) as [JobKind, number][]) {
    kinds[kind] = { engines: offers.filter((offer) => offer.kind === kind).map(({ engine }) => engine), slots };
  }
  return { kinds };
}

export function slotsByKind(offers: readonly MinerOffer[]): Partial<Record<JobKind, number>> {
  const slots: Partial<Record<JobKind, number>> = {};
  for (const { kind, slots: count } of offers) slots[kind] = Math.max(slots[kind] ?? 0, count);
  return slots;
}
