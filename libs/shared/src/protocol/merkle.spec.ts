import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  GrowingTree,
  inclusionPath,
  isIncluded,
  leafHash,
  pathThroughTiles,
  rootOf,
  TILE_LEAVES,
  type Inclusion,
} from './merkle';

const sha256 = (...parts: (Uint8Array | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** MTH of RFC 6962, section 2.1, as it stands there. */
function specified(leaves: readonly Uint8Array[]): Buffer {
  const [first] = leaves;
  if (!first) return sha256('');
  if (leaves.length === 1) return sha256(Buffer.of(0), first);
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return sha256(Buffer.of(1), specified(leaves.slice(0, k)), specified(leaves.slice(k)));
}

/** PATH of RFC 6962, section 2.1.1. */
function specifiedPath(m: number, leaves: readonly Uint8Array[]): Buffer[] {
  if (leaves.length <= 1) return [];
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return m < k
    ? [...specifiedPath(m, leaves.slice(0, k)), specified(leaves.slice(k))]
    : [...specifiedPath(m - k, leaves.slice(k)), specified(leaves.slice(0, k))];
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const numbered = (count: number): Buffer[] => Array.from({ length: count }, (_, n) => Buffer.from(`leaf ${n}`));
const hashesOf = (leaves: readonly Uint8Array[]): Buffer[] => leaves.map(leafHash);

/** Small trees in all their shapes, and sizes around the edge of a tile. */
const anySize = fc.oneof(
  fc.integer({ min: 1, max: 70 }),
  fc.integer({ min: TILE_LEAVES - 2, max: TILE_LEAVES + 2 }),
  fc.integer({ min: 2 * TILE_LEAVES - 2, max: 3 * TILE_LEAVES + 2 }),
);

/** The leaves that the test trees of Certificate Transparency's implementations are made of. */
const PUBLISHED_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const PUBLISHED_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

describe('a Merkle tree', () => {
  it.each(PUBLISHED_ROOTS.map((root, count) => [count, root]))(
    'of the first %i published leaves has the published root',
    (count, root) => {
      const leaves = PUBLISHED_LEAVES.slice(0, Number(count)).map((leaf) => Buffer.from(leaf, 'hex'));
      expect(hex(rootOf(hashesOf(leaves)))).toBe(root);
    },
  );

  it('is the tree of RFC 6962, whatever its size, and after every leaf', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 90 }), (leaves) => {
        const tree = new GrowingTree();
        leaves.forEach((leaf, n) => {
          expect(hex(tree.root())).toBe(hex(specified(leaves.slice(0, n))));
          tree.add(leafHash(leaf));
        });
        expect(hex(tree.root())).toBe(hex(specified(leaves)));
      }),
    );
  });

  it('has the same root over its tiles, of which only the last may be partial', () => {
    fc.assert(
      fc.property(anySize, (size) => {
        const hashes = hashesOf(numbered(size));
        const tree = new GrowingTree();
        hashes.forEach((hash) => tree.add(hash));
        const tiles = tree.tiles();
        expect(tiles).toHaveLength(Math.ceil(size / TILE_LEAVES));
        expect(hex(rootOf(tiles))).toBe(hex(tree.root()));
        tiles.forEach((tile, n) =>
          expect(hex(tile)).toBe(hex(rootOf(hashes.slice(n * TILE_LEAVES, (n + 1) * TILE_LEAVES)))),
        );
      }),
      { numRuns: 30 },
    );
    expect(new GrowingTree().tiles()).toEqual([]);
  });

  it('keeps one hash per level while it grows', () => {
    const tree = new GrowingTree();
    for (const hash of hashesOf(numbered(TILE_LEAVES + 1_000))) tree.add(hash);
    const { peaks } = tree as unknown as { peaks: unknown[] };
    expect(peaks.length).toBeLessThanOrEqual(Math.log2(tree.size) + 1);
  });

  it('takes no node for a leaf', () => {
    const [a, b] = hashesOf(numbered(2)) as [Buffer, Buffer];
    expect(hex(rootOf([leafHash(Buffer.concat([a, b]))]))).not.toBe(hex(rootOf([a, b])));
  });
});

describe('an inclusion proof', () => {
  /** A leaf of a tree, with what proves it. */
  const proven = fc.tuple(anySize, fc.nat()).map(([size, any]) => {
    const leaves = numbered(size);
    const hashes = hashesOf(leaves);
    const index = any % size;
    return { leaves, hashes, index, size, path: inclusionPath(hashes, index), root: rootOf(hashes) };
  });
  const check = (hash: Buffer, inclusion: Inclusion): boolean => isIncluded(hash, inclusion);

  it('is the path of RFC 6962, and leads to the root', () => {
    fc.assert(
      fc.property(proven, ({ leaves, hashes, index, size, path, root }) => {
        expect(path.map(hex)).toEqual(specifiedPath(index, leaves).map(hex));
        expect(check(hashes[index]!, { index, size, path, root })).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('is the same from one tile and the roots of all', () => {
    fc.assert(
      fc.property(proven, ({ hashes, index, path }) => {
        const tree = new GrowingTree();
        hashes.forEach((hash) => tree.add(hash));
        const start = Math.floor(index / TILE_LEAVES) * TILE_LEAVES;
        const tile = hashes.slice(start, start + TILE_LEAVES);
        expect(pathThroughTiles(tree.tiles(), tile, index).map(hex)).toEqual(path.map(hex));
      }),
      { numRuns: 60 },
    );
  });

  it('proves no other leaf, place, size or root, and no path with a hash changed, left out or added', () => {
    fc.assert(
      fc.property(proven, fc.nat(), fc.nat(255), ({ hashes, index, size, path, root }, at, byte) => {
        const hash = hashes[index]!;
        const whole = { index, size, path, root };
        const other = Buffer.from(hash);
        other[at % 32]! ^= byte || 1;
        expect(check(other, whole)).toBe(false);
        expect(check(hash, { ...whole, root: other })).toBe(false);
        expect(check(hash, { ...whole, path: [...path, other] })).toBe(false);
        // The same hashes are no way through a tree that is higher.
        expect(check(hash, { ...whole, size: 2 * size + 1 })).toBe(false);
        for (const place of [index - 1, index + 1, size, -1, index + 0.5, NaN])
          expect(check(hash, { ...whole, index: place })).toBe(false);
        if (path.length === 0) return;
        const n = at % path.length;
        expect(check(hash, { ...whole, path: path.filter((_, k) => k !== n) })).toBe(false);
        expect(check(hash, { ...whole, path: path.map((one, k) => (k === n ? other : one)) })).toBe(false);
        expect(check(hash, { ...whole, path: path.map((one, k) => (k === n ? one.subarray(1) : one)) })).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  it('is refused for a leaf that there is not', () => {
    expect(() => inclusionPath(hashesOf(numbered(3)), 3)).toThrow('there is no leaf 3 among 3');
    expect(() => inclusionPath([], 0)).toThrow(RangeError);
  });
});
