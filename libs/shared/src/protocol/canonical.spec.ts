import fc from 'fast-check';
import { canonicalHash, canonicalJson, sha256Hex } from './canonical';

describe('canonicalJson', () => {
  it('writes the RFC 8785 example: sorted keys, shortest numbers, minimal escapes', () => {
    const value = {
      numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  it('sorts keys by UTF-16 code units', () => {
    expect(canonicalJson({ '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6 })).toBe(
      '{"\\r":2,"1":4,"\u0080":6,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}',
    );
  });

  it('writes bigint as a decimal string and leaves undefined fields out', () => {
    expect(canonicalJson({ points: 10_000_000n, reason: undefined })).toBe('{"points":"10000000"}');
  });

  it.each([[NaN], [Infinity], [new Map()], [new Date(0)], [Uint8Array.of(1)], [() => 1], [undefined], [Symbol('a')]])(
    'refuses %p, which JSON has no form for, and names the place',
    (bad) => {
      expect(() => canonicalJson({ a: [bad] })).toThrow(/^\$\.a\[0\]: /);
    },
  );

  it('gives one text whatever the order of insertion', () => {
    const shuffled = (entries: [string, unknown][]) => [...entries].reverse();
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
        const other = Object.fromEntries(shuffled(Object.entries(object)));
        expect(canonicalJson(other)).toBe(canonicalJson(object));
      }),
    );
  });

  it('keeps the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

describe('hashes', () => {
  it('equal the published SHA-256 of "abc", for text and bytes', () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(sha256Hex('abc')).toBe(abc);
    expect(sha256Hex(Uint8Array.of(0x61, 0x62, 0x63))).toBe(abc);
  });

  it('of values are hashes of their canonical text', () => {
    expect(canonicalHash({ b: 1, a: 2n })).toBe(sha256Hex('{"a":"2","b":1}'));
  });
});
