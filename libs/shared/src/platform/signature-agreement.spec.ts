/**
 * Clients check signatures with one library (pure JavaScript) and services with another (WebAssembly). A signature that
 * one takes and the other refuses would make a miner honest to some and dishonest to others, so the two are compared:
 * on signatures made by each, on forged ones, and on every kind of change to a good one.
 */
import fc from 'fast-check';
import { hotkeyFromSeed, signText, verifyText } from '../protocol/hotkey';
import { decodeSs58, encodeSs58 } from '../protocol/ss58';
import { SignatureThreads } from './signature-threads';

const SEED = '07'.repeat(32);
const hotkey = hotkeyFromSeed(SEED);

/** Made once by each library with SEED; signatures hold chance, so they cannot be made again, only checked. */
const VECTORS = [
  {
    message: '',
    scure:
      '0x66fad0694f1c1c061f5e7623054c1af26a2f02dab892e6164793988ca601f367ac188d4205ea70bde97f500287fb56a05da5a528736a3322a87386bd0081f689',
    wasm: '0x2270e60a193dfcd0aca463f3d72b5eeeee9a3e300bbb7dba9ade3531c4fc2f187c0dc28a10c62f6dce6bc2f08dec91a06b9962e9563c2e4edbd4c02ec54d898e',
  },
  {
    message: 'POST|/v1/jobs|e3b0|1760000000000|0f8f|5Grw',
    scure:
      '0xe6817f62c0f6bf2dbc33c9cc5363fa74b402d038bcd4a276efc81a1d71e05c0f6ba2a4648960caf0b213b665e80034cc08e44f49685c73d2ef02f9ab0baadd8d',
    wasm: '0xa033f8b713d8df4aa7cd2451c73a3eb3dfce9cf8e758ea41a3a3b8ffed3b6e7788028c1107bc6ff04ba3543c965bfbf405c4f2de331a8f7f2bbc74765f7edc89',
  },
  {
    message: 'text – ünïcode',
    scure:
      '0x84d0dedfe1e44d5371f8a0bf4fd5e185abf31d78576fa2fa7c0378df97fa2e5af786d375c23b9ae4eefc307af3446ea99754aec1fd6c79b42f29936208aeb181',
    wasm: '0x9cf27a82c109a2fcb9ba398f884eeaa00c9d1d358fa63f5b8a624ed79bc6330e0d1f86925e984ec945e61a46937b78893d35790e45375ad4cfdb325fd54da580',
  },
];

/** Order of the group: a scalar and the scalar plus this are the same, and only the smaller may be written. */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
/** Of the field: a coordinate and its negative encode one point, and only one of them may be written. */
const PRIME = 2n ** 255n - 19n;

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
const toBytes = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
const bytesOf = (signature: string): Buffer => Buffer.from(signature.slice(2), 'hex');
const hexOf = (...parts: Uint8Array[]): string => `0x${Buffer.concat(parts).toString('hex')}`;

function flip(bytes: Uint8Array, bit: number): Buffer {
  const flipped = Buffer.from(bytes);
  flipped[bit >> 3]! ^= 1 << (bit & 7);
  return flipped;
}

describe('the two libraries', () => {
  const threads = new SignatureThreads();
  afterAll(() => threads.close());

  /** One verdict, or a failure that shows both. */
  async function verdict(address: string, message: string, signature: string): Promise<boolean> {
    const both = {
      plain: verifyText(address, message, signature),
      wasm: await threads.verify(address, message, signature),
    };
    expect([
      { plain: true, wasm: true },
      { plain: false, wasm: false },
    ]).toContainEqual(both);
    return both.wasm;
  }

  it.each(VECTORS)('accept the kept signatures of each other over "$message"', async ({ message, scure, wasm }) => {
    expect(await verdict(hotkey.address, message, scure)).toBe(true);
    expect(await verdict(hotkey.address, message, wasm)).toBe(true);
  });

  it('accept what each other signs, whatever the key and the text', async () => {
    const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((seed) => Buffer.from(seed).toString('hex'));
    const texts = fc.string({ unit: 'grapheme', maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(seeds, texts, async (seed, text) => {
        const signer = threads.signer(seed);
        expect(await verdict(signer.address, text, signText(hotkeyFromSeed(seed), text))).toBe(true);
        expect(await verdict(signer.address, text, await signer.sign(text))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('refuse a signature with one bit changed, whichever it is of every second one', async () => {
    const { message, wasm } = VECTORS[1]!;
    const verdicts = Array.from({ length: 256 }, (_, half) =>
      verdict(hotkey.address, message, hexOf(flip(bytesOf(wasm), 2 * half + 1))),
    );
    expect(new Set(await Promise.all(verdicts))).toEqual(new Set([false]));
  });

  it('refuse a signature over another text, by another key, or with several bytes changed', async () => {
    const change = fc.record({
      text: fc.option(fc.string({ unit: 'grapheme' })),
      key: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 })),
      bytes: fc.array(fc.tuple(fc.nat(63), fc.nat(255)), { maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(change, fc.constantFrom(...VECTORS), async ({ text, key, bytes }, { message, scure }) => {
        const changed = bytesOf(scure);
        for (const [at, value] of bytes) changed[at] = value;
        const address = key ? encodeSs58(key) : hotkey.address;
        const isSame = address === hotkey.address && (text ?? message) === message && hexOf(changed) === scure;
        expect(await verdict(address, text ?? message, hexOf(changed))).toBe(isSame);
      }),
      { numRuns: 150 },
    );
  });

  it('refuse a message that was wrapped, on either side', async () => {
    const wrapped = '<Bytes>text</Bytes>';
    expect(await verdict(hotkey.address, 'text', await threads.signer(SEED).sign(wrapped))).toBe(false);
    expect(await verdict(hotkey.address, wrapped, await threads.signer(SEED).sign('text'))).toBe(false);
    expect(await verdict(hotkey.address, wrapped, await threads.signer(SEED).sign(wrapped))).toBe(true);
  });

  it('refuse the other ways to write a good signature', async () => {
    const { message, scure } = VECTORS[2]!;
    const [point, scalar] = [bytesOf(scure).subarray(0, 32), bytesOf(scure).subarray(32)];
    // The highest bit says that it is sr25519: the scalar ends below it.
    const value = toNumber(flip(scalar, 255));
    const others = {
      'a scalar that is too large': hexOf(point, flip(toBytes(value + ORDER), 255)),
      'without the mark of sr25519': hexOf(point, flip(scalar, 255)),
      'the negative of the point': hexOf(toBytes(PRIME - toNumber(point)), scalar),
      'the negative of the scalar': hexOf(point, flip(toBytes(ORDER - value), 255)),
      'a byte too many': `${scure}00`,
      'a byte too few': scure.slice(0, -2),
      'half a byte too few': scure.slice(0, -1),
      'upper case': `0x${scure.slice(2).toUpperCase()}`,
      'without 0x': scure.slice(2),
    };
    for (const [name, other] of Object.entries(others)) {
      expect({ name, ok: await verdict(hotkey.address, message, other) }).toEqual({ name, ok: false });
    }
  });

  it('refuse the key of zeros, for which anybody can sign', async () => {
    const zeros = encodeSs58(new Uint8Array(32));
    // With the neutral element as its key, R = s·B is a signature over every message: here s = 1 and R the base point.
    const base = Buffer.from('e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76', 'hex');
    const forged = hexOf(base, flip(toBytes(1n), 255));
    expect(decodeSs58(zeros)).toEqual(new Uint8Array(32));
    expect(await verdict(zeros, 'any message', forged)).toBe(false);
    expect(await verdict(zeros, 'any message', `0x${'00'.repeat(64)}`)).toBe(false);
    expect(await verdict(encodeSs58(new Uint8Array(32).fill(255)), 'any message', forged)).toBe(false);
  });
});
