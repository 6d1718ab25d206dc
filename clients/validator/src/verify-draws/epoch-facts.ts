/** What the rest of the public record says of an epoch: its snapshot, and the awards that the log of score events has. */
import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { RegistryAway, type RegistryClient } from '../registry-client';
import type { Award } from './draw-verifier';
import { Unreadable } from './unreadable';

export interface EpochFacts {
  snapshot: Snapshot;
  /** SHA-256 of the snapshot's text, as served and as the log announced it. */
  served: string;
  announced: string | undefined;
  /** By job id. */
  awards: Map<string, Award>;
}

type Registry = Pick<RegistryClient, 'events' | 'snapshot'>;

/** @throws Unreadable */
export function epochFacts(registry: Registry, epoch: number): Promise<EpochFacts> {
  return readable(async () => {
    const body = await snapshotText(registry, epoch);
    const snapshot = JSON.parse(body) as Snapshot;
    const facts: EpochFacts = { snapshot, served: sha256Hex(body), announced: undefined, awards: new Map() };
    for await (const event of events(registry, await startOf(registry, epoch), snapshot.ledger_seq + 1)) {
      if (event.epoch !== epoch) continue;
      if (event.type === 'snapshot') facts.announced = event.sha256;
      if (event.type === 'award') addAward(facts.awards, event);
    }
    return facts;
  });
}

/** The number of the newest closed epoch. @throws Unreadable */
export function latestEpoch(registry: Pick<Registry, 'snapshot'>): Promise<number> {
  return readable(async () => (JSON.parse(await snapshotText(registry, 'latest')) as Snapshot).epoch);
}

/** What goes wrong outside becomes a sentence with its remedy. */
async function readable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof RegistryAway) {
      const remedy = 'see that the registry runs, or give another with --registry';
      throw new Unreadable(`${error.message}: ${remedy}`, { cause: error });
    }
    if (error instanceof TypeError || error instanceof SyntaxError) {
      throw new Unreadable(`what the registry answers cannot be read: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

async function snapshotText(registry: Pick<Registry, 'snapshot'>, epoch: number | 'latest'): Promise<string> {
  const body = await registry.snapshot(epoch);
  if (body !== null) return body;
  const which = epoch === 'latest' ? 'no epoch is closed yet' : `epoch ${epoch} is not closed yet, or there is none`;
  throw new Unreadable(`${which}: ask again after its close`);
}

/**
 * Number of the last event before any award of the epoch: it opens only once the epoch before the one before it is closed,
 * and its awards come later.
 */
async function startOf(registry: Registry, epoch: number): Promise<number> {
  if (epoch <= 2) return 0;
  return (JSON.parse(await snapshotText(registry, epoch - 2)) as Snapshot).ledger_seq + 1;
}

async function* events(registry: Registry, after: number, last: number): AsyncGenerator<ScoreEvent> {
  for (let seq = after; seq < last;) {
    const page = await registry.events(seq);
    for (const event of page.events) {
      if (event.seq !== seq + 1)
        throw new Unreadable(`the log of score events is broken: ${event.seq} comes after ${seq}`);
      seq = event.seq;
      yield event;
    }
    if (page.events.length === 0) throw new Unreadable(`the log of score events ends at ${seq}, before ${last}`);
  }
}

function addAward(awards: Map<string, Award>, event: ScoreEvent): void {
  const { seq, job_id: jobId, hotkey, kind, points, policy_version: policyVersion } = event;
  if (!jobId || !hotkey || !kind || points === undefined || policyVersion === undefined) {
    throw new Unreadable(`event ${seq} of the log is no award: it lacks what an award has`);
  }
  awards.set(jobId, { hotkey, kind, points, policyVersion });
}
