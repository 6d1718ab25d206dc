import fc from 'fast-check';
import { decodeSs58, encodeSs58 } from './ss58';

/** Substrate's well-known development account. */
const ALICE = '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY';
const ALICE_KEY = 'd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d';

describe('SS58', () => {
  it('encodes and decodes the well-known address', () => {
    expect(encodeSs58(Buffer.from(ALICE_KEY, 'hex'))).toBe(ALICE);
    expect(Buffer.from(decodeSs58(ALICE) ?? []).toString('hex')).toBe(ALICE_KEY);
  });

  it('returns every key to itself, extremes included', () => {
    const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(fc.oneof(keys, fc.constant(new Uint8Array(32)), fc.constant(new Uint8Array(32).fill(255))), (key) => {
        expect(decodeSs58(encodeSs58(key))).toEqual(key);
      }),
    );
  });

  it('refuses an address with one character changed', () => {
    fc.assert(
      fc.property(fc.nat(47), fc.constantFrom(...'123ABCxyz'), (at, letter) => {
        fc.pre(ALICE[at] !== letter);
        // Two checksum bytes: one change in 65,536 passes; none of these does.
        expect(decodeSs58(ALICE.slice(0, at) + letter + ALICE.slice(at + 1))).toBeUndefined();
      }),
    );
  });

  it.each([
    ['the same key under Polkadot (prefix 0)', '15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5'],
    ['an empty text', ''],
    ['letters outside base58', `0${ALICE.slice(1)}`],
    ['a mebibyte of text', '5'.repeat(2 ** 20)],
    ['spaces around', ` ${ALICE}`],
  ])('refuses %s', (_, address) => {
    expect(decodeSs58(address)).toBeUndefined();
  });

  it('refuses a key of another length', () => {
    expect(() => encodeSs58(new Uint8Array(33))).toThrow(RangeError);
  });
});
