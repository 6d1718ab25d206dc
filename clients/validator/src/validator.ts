/**
 * The library of whoever validates: follow the log (`watch`), set weights by it (`follow`, or `run` for a file alone), or
 * compute those of one epoch (`checkedEpoch`, `weightsOf`). Nothing that the registry says is taken on trust.
 */
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { WALL_CLOCK } from './clock';
import type { Commitments } from './commitments';
import type { Cursor } from './cursor';
import { LedgerCopy } from './ledger-copy';
import type { RegistryClient } from './registry-client';
import { followScores, missedEvents, persistently, type ScoreSources } from './score-stream';
import { checkSnapshot, type CheckedSnapshot, type EpochWeights, type Verdict } from './snapshot-check';
import type { FilePlace } from './weights-file';
import { WeightsSetter } from './weights-setter';
import { FileTarget } from './weights-target';

/** After twenty epochs nothing that a vector was made of lies in the window any more (`windowEpochs`). */
export const MAX_AGE_EPOCHS = 20;

/** A snapshot that was refused by a single request for weights. */
export class SnapshotRefused extends Error {
  constructor(epoch: number, problems: readonly string[]) {
    super(`the snapshot of epoch ${epoch} is refused:\n  ${problems.join('\n  ')}`);
    this.name = 'SnapshotRefused';
  }
}

/** Follows the log from the cursor on, keeping its own sums; `onEvent` hears of every event. Ends with the signal. */
export function watch(
  cursor: Cursor,
  sources: ScoreSources,
  onEvent: (event: ScoreEvent) => Promise<void> | void,
): Promise<void> {
  return consume(followScores(cursor.copy.seq, sources), cursor, sources, onEvent);
}

/**
 * Follows the log and has `setter` set the weights of every snapshot that checks out; a refused one is said aloud. Ends with
 * the signal.
 * @param commitments learns what each epoch's draw is committed to, while the epoch is open: from the snapshot before it.
 */
export async function follow(
  cursor: Cursor,
  sources: ScoreSources,
  setter: WeightsSetter,
  commitments?: Commitments,
): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([sources.signal, over.signal]);
  const caughtUp = (): void => {
    sources.caughtUp?.();
    setter.caughtUp();
  };
  const following = async (): Promise<void> => {
    await commitments?.learn({ ...sources, signal });
    await watch(cursor, { ...sources, signal, caughtUp }, (event) =>
      onSnapshot(event, cursor, sources, setter, commitments),
    );
  };
  // Whichever ends first, by a fault or the signal, ends the other.
  const both = [following(), setter.keep(signal)].map((part) => part.finally(() => over.abort()));
  await Promise.all(both);
}

/** `follow` to a file, with every snapshot: what a sidecar of one's own, or a cron job, hands to the chain. */
export async function run(
  cursor: Cursor,
  sources: ScoreSources,
  place: FilePlace,
  commitments?: Commitments,
): Promise<void> {
  const setter = await WeightsSetter.open(cursor.stateDir, {
    target: new FileTarget(place),
    rhythm: { every: 'epoch' },
    maxAgeEpochs: MAX_AGE_EPOCHS,
    clock: WALL_CLOCK,
    say: sources.say,
  });
  return follow(cursor, sources, setter, commitments);
}

/**
 * Reads the log to its end and sets weights once, if this epoch has none yet. Where the registry is away it does with what is
 * known: the last good weights.
 * @returns whether weights are set.
 */
export async function runOnce(cursor: Cursor, sources: ScoreSources, setter: WeightsSetter): Promise<boolean> {
  if (await answers(sources)) {
    const events = missedEvents(cursor.copy.seq, sources);
    await consume(events, cursor, sources, (event) => onSnapshot(event, cursor, sources, setter));
    setter.caughtUp();
  }
  return !sources.signal.aborted && setter.once(sources.signal);
}

/** The weights of one epoch: `checkedEpoch` without what they were made of. */
export async function weightsOf(epoch: number | 'latest', sources: Omit<ScoreSources, 'live'>): Promise<EpochWeights> {
  return (await checkedEpoch(epoch, sources)).weights;
}

/**
 * One epoch, from a replay of the whole log over HTTP: independent of any state.
 * @throws SnapshotRefused; RangeError when the epoch has no snapshot.
 */
export async function checkedEpoch(
  epoch: number | 'latest',
  sources: Omit<ScoreSources, 'live'>,
): Promise<CheckedSnapshot> {
  const wanted = epoch === 'latest' ? await latestEpoch(sources.registry) : epoch;
  const copy = new LedgerCopy();
  for await (const event of missedEvents(0, sources)) {
    if (event.type === 'snapshot' && event.epoch === wanted) {
      const verdict = await verdictOn(event, copy, sources);
      if (verdict?.ok) return verdict;
      throw new SnapshotRefused(wanted, verdict?.problems ?? ['told to stop']);
    }
    copy.apply(event);
  }
  throw new RangeError(`epoch ${wanted} has no snapshot: it is not closed yet`);
}

async function consume(
  events: AsyncIterable<ScoreEvent>,
  cursor: Cursor,
  { signal }: ScoreSources,
  onEvent: (event: ScoreEvent) => Promise<void> | void,
): Promise<void> {
  try {
    for await (const event of events) {
      await onEvent(event);
      // Told to stop while it waited for a snapshot: this event is not done with.
      if (signal.aborted) return;
      cursor.copy.apply(event);
      await cursor.saveNowAndThen();
    }
  } finally {
    await cursor.save();
  }
}

async function onSnapshot(
  event: ScoreEvent,
  cursor: Cursor,
  sources: ScoreSources,
  setter: WeightsSetter,
  commitments?: Commitments,
): Promise<void> {
  if (event.type !== 'snapshot') return;
  await commitments?.learn(sources, event.epoch);
  const verdict = await verdictOn(event, cursor.copy, sources);
  if (!verdict) return;
  if (verdict.ok) return setter.offer(verdict, event.at);
  setter.refuse(event.epoch);
  sources.say(new SnapshotRefused(event.epoch, verdict.problems).message);
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

async function answers({ registry, say }: ScoreSources): Promise<boolean> {
  try {
    await registry.currentEpoch();
    return true;
  } catch (error) {
    say(`${(error as Error).message}: going on with what is known`);
    return false;
  }
}
