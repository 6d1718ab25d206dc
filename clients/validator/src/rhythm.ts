/**
 * When weights are handed over. Pure: time and block come in, so that it can be tested without waiting. Time is cut into
 * slots; in each one the newest weights are handed over once, and tried again until its end where that fails.
 */

/** With every snapshot that checks out; by the clock where none comes. */
export interface EpochRhythm {
  every: 'epoch';
}

/** With every so many blocks of the chain, whatever the registry does. */
export interface BlockRhythm {
  every: 'blocks';
  blocks: number;
  blockMs: number;
}

export type Rhythm = EpochRhythm | BlockRhythm;

export interface Slot {
  /** Equal for two moments of one slot, also after a restart. */
  id: string;
  untilMs: number;
}

/** What has to be known of a vector: whose epoch it is, when that closed, and how long the registry's epochs are. */
export interface Dated {
  epoch: number;
  closedMs: number;
  epochMs: number;
}

/** What came of the rhythm: hand over now, or look again later. */
export type Act =
  | { act: 'hand-over'; slot: Slot; ageEpochs: number }
  | { act: 'wait'; untilMs: number; because: 'done' | 'no-weights' | 'no-scores' | 'too-old'; ageEpochs: number };

/**
 * A snapshot comes when the audits of its epoch are done, up to ten minutes after the close (`closeBoundMs`). Half an epoch,
 * 36 minutes, is enough not to send old weights just before the new ones: the chain takes a validator's weights only so
 * often, and would refuse the new ones.
 */
const GRACE_EPOCHS = 0.5;

/** Where there is nothing to hand over, a newcomer wakes the setter; this is for the clock alone. */
const IDLE_MS = 60_000;

/** The slot that `nowMs` lies in, when the chain is at `block`. */
export function blockSlot(block: number, nowMs: number, { blocks, blockMs }: BlockRhythm): Slot {
  const number = Math.floor(block / blocks);
  return { id: `blocks ${number}`, untilMs: nowMs + ((number + 1) * blocks - block) * blockMs };
}

/** The first slot of a vector lasts until its successor is overdue; then there is one for each epoch without a successor. */
export function epochSlot({ epoch, closedMs, epochMs }: Dated, nowMs: number): Slot {
  const number = Math.max(0, Math.floor((nowMs - closedMs) / epochMs - GRACE_EPOCHS));
  return { id: `epoch ${epoch}+${number}`, untilMs: closedMs + (number + 1 + GRACE_EPOCHS) * epochMs };
}

/** How many epochs have passed since the vector's own closed: 0 in its time, 1 while the next snapshot is being made. */
export function ageInEpochs({ closedMs, epochMs }: Dated, nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - closedMs) / epochMs));
}

export interface Situation {
  /** The newest vector that checked out; null where there has been none. */
  good: Dated | null;
  /** A later epoch in which nobody was scored; null where there is none. */
  emptyEpoch: number | null;
  /** The slot in which weights were handed over, or finally refused. */
  doneSlot: string | null;
  maxAgeEpochs: number;
}

/** @param slot of this moment; null where it depends on the vector and there is none. */
export function nextAct(
  { good, emptyEpoch, doneSlot, maxAgeEpochs }: Situation,
  slot: Slot | null,
  nowMs: number,
): Act {
  if (!good || !slot) {
    const because = emptyEpoch === null ? 'no-weights' : 'no-scores';
    return { act: 'wait', untilMs: slot?.untilMs ?? nowMs + IDLE_MS, because, ageEpochs: 0 };
  }
  const ageEpochs = ageInEpochs(good, nowMs);
  const wait = (because: 'done' | 'no-scores' | 'too-old'): Act => ({
    act: 'wait',
    untilMs: slot.untilMs,
    because,
    ageEpochs,
  });
  if (emptyEpoch !== null && emptyEpoch > good.epoch) return wait('no-scores');
  if (ageEpochs > maxAgeEpochs) return wait('too-old');
  if (slot.id === doneSlot) return wait('done');
  return { act: 'hand-over', slot, ageEpochs };
}

/** Block of a chain that makes one every `blockMs` since `genesisMs`: good enough to agree with other validators. */
export function wallBlock(nowMs: number, { genesisMs, blockMs }: { genesisMs: number; blockMs: number }): number {
  return Math.max(0, Math.floor((nowMs - genesisMs) / blockMs));
}
