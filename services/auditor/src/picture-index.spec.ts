import fc from 'fast-check';
import { hashDistance } from '@studio/shared/domain/dct-hash';
import { PictureIndex, type Indexed } from './picture-index';

interface Numbered extends Indexed {
  number: number;
}

/** Few pixels and hashes a few bits apart, so that most pictures have equals and neighbours. */
const flipped = (hash: string, bits: readonly number[]): string => {
  const digits = [...hash].map((digit) => parseInt(digit, 16));
  for (const bit of bits) digits[bit >> 2]! ^= 1 << (bit & 3);
  return digits.map((digit) => digit.toString(16)).join('');
};
const SCENES = [
  '0'.repeat(64),
  'f'.repeat(64),
  '0123456789abcdef'.repeat(4),
  'ffffffff'.repeat(4) + '00000000'.repeat(4),
];
const hash = fc
  .tuple(fc.constantFrom(...SCENES), fc.array(fc.nat(255), { maxLength: 24 }))
  .map(([scene, bits]) => flipped(scene, bits));
const picture = fc.record({
  pixelHash: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  dctHash: fc.option(hash, { freq: 5 }),
});
const pictures = fc.array(picture, { maxLength: 60 }).map((list) => list.map((each, number) => ({ ...each, number })));
const capacity = fc.integer({ min: 1, max: 40 });
const most = fc.integer({ min: 0, max: 40 });

const filled = (size: number, list: readonly Numbered[]): PictureIndex<Numbered> => {
  const index = new PictureIndex<Numbered>(size);
  list.forEach((each) => index.add(each));
  return index;
};
const inOrder = <T>(list: readonly T[], numberOf: (each: T) => number): T[] =>
  [...list].sort((a, b) => numberOf(a) - numberOf(b));

describe('the index of the latest pictures', () => {
  it('finds exactly those among the latest that have equal pixels', () => {
    fc.assert(
      fc.property(capacity, pictures, picture, (size, list, asked) => {
        const expected = list.slice(-size).filter(({ pixelHash }) => pixelHash === asked.pixelHash);
        const found = filled(size, list).equalTo(asked);
        expect(inOrder(found, ({ number }) => number)).toEqual(expected);
      }),
    );
  });

  it('finds exactly those among the latest that have other pixels and a near hash, with their distances', () => {
    fc.assert(
      fc.property(capacity, pictures, picture, most, (size, list, asked, bits) => {
        const expected = list.slice(-size).flatMap((each) => {
          if (each.dctHash === null || asked.dctHash === null || each.pixelHash === asked.pixelHash) return [];
          const distance = hashDistance(each.dctHash, asked.dctHash);
          return distance <= bits ? [{ picture: each, distance }] : [];
        });
        const found = filled(size, list).near(asked, bits);
        expect(inOrder(found, (match) => match.picture.number)).toEqual(expected);
      }),
    );
  });
});
