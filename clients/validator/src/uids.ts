/**
 * Hotkey → uid, and with it the vector in the form that the chain takes. Two forms of a metagraph are read, those that the
 * registry reads as well: ours, `{block?, neurons: [{hotkey, uid, …}]}`, and bittensor-pylon's, `{block: {number, …},
 * neurons: {"<hotkey>": {hotkey, uid, …}}}`. Only block, hotkeys and uids are looked at.
 */
import { chainWeights } from '@studio/shared/domain/weights';

/** The chain numbers neurons with 16 bits. */
const MAX_UID = 65_535;

export interface Members {
  /** Null where the source names none. */
  block: number | null;
  uids: ReadonlyMap<string, number>;
}

/** Everybody's share, as the snapshot has it. */
export interface Share {
  hotkey: string;
  share: number;
}

/** Parallel arrays in uid order, without duplicates and zeros: what `set_weights` takes. */
export interface ChainVector {
  uids: number[];
  values: number[];
  /** In the same order. */
  hotkeys: string[];
  /** Hotkeys that would have a value above 0, but are not in the metagraph. */
  leftOut: string[];
}

export class MetagraphUnreadable extends Error {
  constructor(why: string) {
    super(`the metagraph ${why}`);
    this.name = 'MetagraphUnreadable';
  }
}

/**
 * The u16 values as the chain's SDK makes them of the members' shares: without anybody left out, those of the snapshot;
 * else scaled up, because the chain wants the largest to be 65535.
 */
export function chainVector(shares: readonly Share[], { uids }: Members): ChainVector {
  const present = shares.filter(({ hotkey }) => uids.has(hotkey));
  const weighty = chainWeights(shares.map(({ share }) => share)).weights.map(({ index }) => shares[index]!.hotkey);
  const entries = chainWeights(present.map(({ share }) => share)).weights.map(({ index, u16 }) => {
    const { hotkey } = present[index]!;
    return { hotkey, uid: uids.get(hotkey)!, u16 };
  });
  entries.sort((a, b) => a.uid - b.uid);
  return {
    uids: entries.map(({ uid }) => uid),
    values: entries.map(({ u16 }) => u16),
    hotkeys: entries.map(({ hotkey }) => hotkey),
    leftOut: weighty.filter((hotkey) => !uids.has(hotkey)),
  };
}

/** @throws MetagraphUnreadable naming what is wrong: nothing is guessed, because a wrong uid pays somebody else. */
export function readMembers(said: unknown): Members {
  const { block, neurons } = object(said, 'is no JSON object');
  const uids = new Map<string, number>();
  const taken = new Map<number, string>();
  for (const [name, neuron] of neuronEntries(neurons)) {
    const { hotkey, uid } = object(neuron, `has a neuron that is no object: ${name}`);
    if (typeof hotkey !== 'string' || hotkey === '') throw new MetagraphUnreadable(`names no hotkey of neuron ${name}`);
    if (name !== hotkey && !/^\d+$/.test(name)) throw new MetagraphUnreadable(`has ${hotkey} under the key ${name}`);
    if (!isUid(uid)) throw new MetagraphUnreadable(`gives ${hotkey} the uid ${JSON.stringify(uid)}`);
    if (uids.has(hotkey)) throw new MetagraphUnreadable(`names ${hotkey} twice`);
    if (taken.has(uid)) throw new MetagraphUnreadable(`gives uid ${uid} to ${taken.get(uid)} and to ${hotkey}`);
    uids.set(hotkey, uid);
    taken.set(uid, hotkey);
  }
  if (uids.size === 0) throw new MetagraphUnreadable('has no neurons: that cannot be this subnet');
  return { block: readBlock(block), uids };
}

function readBlock(block: unknown): number | null {
  const number = typeof block === 'object' && block !== null ? (block as { number?: unknown }).number : (block ?? null);
  if (number === null || (Number.isSafeInteger(number) && (number as number) >= 0)) return number as number | null;
  throw new MetagraphUnreadable(`has the block ${JSON.stringify(block)}, which is no number`);
}

function neuronEntries(neurons: unknown): [string, unknown][] {
  if (Array.isArray(neurons)) return neurons.map((neuron: unknown, index) => [String(index), neuron]);
  return Object.entries(object(neurons, 'has no neurons'));
}

const isUid = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_UID;

function object(value: unknown, problem: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new MetagraphUnreadable(problem);
}
