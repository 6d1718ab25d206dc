/**
 * Merkle trees as Certificate Transparency has them (RFC 6962, section 2.1; proofs as RFC 9162, section 2.1.3): SHA-256, a
 * leaf is hashed behind the byte 0x00 and a node behind 0x01, so that no node can pass for a leaf. A tree of n leaves is
 * split at the largest power of two below n. Pure.
 */
import { createHash } from 'node:crypto';

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** Leaves of a tile: its root stands for all of them when a proof is made, so that only one tile has to be read again. */
export const TILE_HEIGHT = 10;
export const TILE_LEAVES = 1 << TILE_HEIGHT;

const HASH_BYTES = 32;

/** Text is hashed as UTF-8. */
export function leafHash(leaf: Uint8Array | string): Buffer {
  return createHash('sha256').update(LEAF).update(leaf).digest();
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest();
}

interface Peak {
  /** The peak stands for 2^height leaves. */
  height: number;
  hash: Buffer;
}

/** A tree that grows leaf by leaf and keeps one hash per level, whatever its size; and one for each full tile. */
export class GrowingTree {
  size = 0;
  private readonly peaks: Peak[] = [];
  private readonly fullTiles: Buffer[] = [];

  /** @param hash of a leaf (`leafHash`), or of a whole tile where the tree is one over tiles. */
  add(hash: Buffer): void {
    this.size += 1;
    let peak: Peak = { height: 0, hash };
    for (let left = this.peaks.at(-1); left?.height === peak.height; left = this.peaks.at(-1)) {
      this.peaks.pop();
      peak = { height: peak.height + 1, hash: nodeHash(left.hash, peak.hash) };
      if (peak.height === TILE_HEIGHT) this.fullTiles.push(peak.hash);
    }
    this.peaks.push(peak);
  }

  root(): Buffer {
    return joined(this.peaks) ?? createHash('sha256').digest();
  }

  /** The root of every tile, the last one's of the leaves that it has. A tree over them has the same root. */
  tiles(): Buffer[] {
    const rest = joined(this.peaks.filter(({ height }) => height < TILE_HEIGHT));
    return rest === undefined ? [...this.fullTiles] : [...this.fullTiles, rest];
  }
}

/** Peaks become smaller from left to right: joined from the right they give the tree's root. */
function joined(peaks: readonly Peak[]): Buffer | undefined {
  return peaks
    .map(({ hash }) => hash)
    .reduceRight<Buffer | undefined>((right, left) => (right === undefined ? left : nodeHash(left, right)), undefined);
}

/** Root of the tree over these hashes. */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  const tree = new GrowingTree();
  for (const hash of hashes) tree.add(hash);
  return tree.root();
}

/**
 * What leads from one leaf to the root: the hashes beside its way, from the leaf upwards.
 * @throws RangeError where there is no such leaf.
 */
export function inclusionPath(hashes: readonly Buffer[], index: number): Buffer[] {
  if (!Number.isSafeInteger(index) || index < 0 || index >= hashes.length) {
    throw new RangeError(`there is no leaf ${index} among ${hashes.length}`);
  }
  if (hashes.length === 1) return [];
  const split = largestPowerBelow(hashes.length);
  const [left, right] = [hashes.slice(0, split), hashes.slice(split)];
  return index < split
    ? [...inclusionPath(left, index), rootOf(right)]
    : [...inclusionPath(right, index - split), rootOf(left)];
}

/**
 * The same of a large tree, from the leaves of one tile and the roots of all.
 * @param hashes of the leaves of the tile that the leaf is in.
 */
export function pathThroughTiles(tiles: readonly Buffer[], hashes: readonly Buffer[], index: number): Buffer[] {
  const tile = Math.floor(index / TILE_LEAVES);
  return [...inclusionPath(hashes, index % TILE_LEAVES), ...inclusionPath(tiles, tile)];
}

export interface Inclusion {
  index: number;
  /** Leaves of the whole tree. */
  size: number;
  path: readonly Buffer[];
  root: Buffer;
}

/** Whether the leaf with this hash is in the tree, at this place. */
export function isIncluded(hash: Buffer, { index, size, path, root }: Inclusion): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  let [node, last, result] = [index, size - 1, hash];
  for (const beside of path) {
    if (last === 0 || beside.length !== HASH_BYTES) return false;
    if (node % 2 === 1 || node === last) {
      result = nodeHash(beside, result);
      // On the right edge: levels on which it has nothing beside it are skipped.
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      result = nodeHash(result, beside);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && result.equals(root);
}

/** Not a shift: those work on 32 bits. */
const half = (value: number): number => Math.floor(value / 2);

function largestPowerBelow(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}
