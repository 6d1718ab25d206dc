import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { Commitments } from './commitments';
import type { Cursor } from './cursor';
import { replaceFile } from './durable-file';
import { LedgerCopy } from './ledger-copy';
import type { RegistryClient } from './registry-client';
import { followScores, missedEvents, persistently, type ScoreSources } from './score-stream';
import { checkSnapshot, type EpochWeights, type Verdict } from './snapshot-check';

/** Where the weights of an epoch go: a file that a sidecar hands to the chain. */
export interface WeightsTarget {
  path: string;
  netuid?: number;
}

/** A snapshot that was refused by a single request for weights. */
export class SnapshotRefused extends Error {
  constructor(epoch: number, problems: readonly string[]) {
    super(`the snapshot of epoch ${epoch} is refused:\n  ${problems.join('\n  ')}`);
    this.name = 'SnapshotRefused';
  }
}

/** Follows the log from the cursor on, keeping its own sums; `onEvent` hears of every event. Ends with the signal. */
export async function watch(
  cursor: Cursor,
  sources: ScoreSources,
  onEvent: (event: ScoreEvent) => Promise<void> | void,
): Promise<void> {
  try {
    for await (const event of followScores(cursor.copy.seq, sources)) {
      await onEvent(event);
      // Told to stop while it waited for a snapshot: this event is not done with.
      if (sources.signal.aborted) return;
      cursor.copy.apply(event);
      await cursor.saveNowAndThen();
    }
  } finally {
    await cursor.save();
  }
}

/**
 * `watch`, and at every snapshot the weights: written when they check out, refused aloud when they do not.
 * @param commitments learns what each epoch's draw is committed to, while the epoch is open: from the snapshot before it.
 */
export async function run(
  cursor: Cursor,
  sources: ScoreSources,
  target: WeightsTarget,
  commitments?: Commitments,
): Promise<void> {
  await commitments?.learn(sources);
  return watch(cursor, sources, async (event) => {
    if (event.type !== 'snapshot') return;
    await commitments?.learn(sources, event.epoch);
    const verdict = await verdictOn(event, cursor.copy, sources);
    if (!verdict) return;
    if (!verdict.ok) {
      sources.say(new SnapshotRefused(event.epoch, verdict.problems).message);
      return;
    }
    await writeWeights(verdict.weights, target);
    sources.say(
      `weights of epoch ${event.epoch}: ${verdict.weights.outcome}, ${verdict.weights.hotkeys.length} miners`,
    );
  });
}

/**
 * The weights of one epoch, from a replay of the whole log over HTTP: independent of any state.
 * @throws SnapshotRefused; RangeError when the epoch has no snapshot.
 */
export async function weightsOf(epoch: number | 'latest', sources: Omit<ScoreSources, 'live'>): Promise<EpochWeights> {
  const wanted = epoch === 'latest' ? await latestEpoch(sources.registry) : epoch;
  const copy = new LedgerCopy();
  for await (const event of missedEvents(0, sources)) {
    if (event.type === 'snapshot' && event.epoch === wanted) {
      const verdict = await verdictOn(event, copy, sources);
      if (verdict?.ok) return verdict.weights;
      throw new SnapshotRefused(wanted, verdict?.problems ?? ['told to stop']);
    }
    copy.apply(event);
  }
  throw new RangeError(`epoch ${wanted} has no snapshot: it is not closed yet`);
}

export async function writeWeights(weights: EpochWeights, { path, netuid }: WeightsTarget): Promise<void> {
  const { epoch, ...rest } = weights;
  await replaceFile(
    path,
    `${JSON.stringify({ epoch, ...(netuid === undefined ? {} : { netuid }), ...rest }, null, 2)}\n`,
  );
}

/** Undefined when told to stop before the snapshot could be read. */
async function verdictOn(
  event: ScoreEvent,
  copy: LedgerCopy,
  { registry, say, signal }: Omit<ScoreSources, 'live'>,
): Promise<Verdict | undefined> {
  const body = await persistently(() => registry.snapshot(event.epoch), { say, signal });
  if (body === undefined) return undefined;
  if (body === null) return { ok: false, problems: ['the log announces it, but the registry does not have it'] };
  return checkSnapshot(body, event, copy);
}

async function latestEpoch(registry: RegistryClient): Promise<number> {
  const body = await registry.snapshot('latest');
  if (body === null) throw new RangeError('no epoch is closed yet: there are no weights');
  return (JSON.parse(body) as { epoch: number }).epoch;
}
