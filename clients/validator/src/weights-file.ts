import { readFileIfAny, replaceFile } from './durable-file';
import type { EpochWeights } from './snapshot-check';
import { chainVector, type ChainVector, type Members, type Share } from './uids';

/** Which file, and what of the subnet goes into it. */
export interface FilePlace {
  path: string;
  netuid?: number;
  versionKey?: number;
  /** Who is in the subnet now; undefined: the file names hotkeys only. @throws MetagraphUnreadable, or what a file does. */
  members?: () => Promise<Members>;
}

/** The vector in the chain's terms: uids and values in parallel, in uid order. */
export interface ChainPart extends ChainVector {
  block: number | null;
}

/** What is in the file, for whoever reads it: `hotkeys` and `weights` in hotkey order; the rest where it is known. */
export interface WrittenWeights extends EpochWeights {
  netuid?: number;
  version_key?: number;
  metagraph_block?: number | null;
  uids?: number[];
  values?: number[];
  left_out?: string[];
}

/** What an epoch's shares are on the chain; undefined where no metagraph is known. */
export async function chainPartOf(shares: readonly Share[], place: FilePlace): Promise<ChainPart | undefined> {
  const members = await place.members?.();
  return members && { ...chainVector(shares, members), block: members.block };
}

/** Replaces the file as a whole: a reader finds the old vector or the new one, never half of one. */
export async function writeWeights(weights: EpochWeights, place: FilePlace, chain?: ChainPart): Promise<void> {
  const { epoch, ...rest } = weights;
  const { path, netuid, versionKey } = place;
  const written: WrittenWeights = {
    epoch,
    ...(netuid !== undefined && { netuid }),
    ...(versionKey !== undefined && { version_key: versionKey }),
    ...rest,
    ...(chain && { metagraph_block: chain.block, uids: chain.uids, values: chain.values, left_out: chain.leftOut }),
  };
  await replaceFile(path, `${JSON.stringify(written, null, 2)}\n`);
}

/** Null where there is none, or none that can be read: whoever compares compares with nothing then. */
export async function readWeights(path: string): Promise<WrittenWeights | null> {
  const text = await readFileIfAny(path);
  if (text === null) return null;
  try {
    const written = JSON.parse(text) as Partial<WrittenWeights> | null;
    const sound = Array.isArray(written?.hotkeys) && written.hotkeys.length === written.weights?.length;
    return sound ? (written as WrittenWeights) : null;
  } catch {
    return null;
  }
}
