import fc from 'fast-check';
import { MAX_HEADER_BYTES, readSafetensors, SafetensorsError, tensorHash, writeSafetensors } from './safetensors';

/** A file with this header text (or object) and body; the length field can lie. */
function fileOf(header: unknown, body: Uint8Array = new Uint8Array(0), claimed?: bigint): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + body.length);
  new DataView(file.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  file.set(text, 8);
  file.set(body, 8 + text.length);
  return file;
}

function faultOf(file: Uint8Array): string {
  try {
    readSafetensors(file);
  } catch (error) {
    expect(error).toBeInstanceOf(SafetensorsError);
    return (error as SafetensorsError).fault;
  }
  return 'none';
}

const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});
const bytes = (count: number) => new Uint8Array(count);

describe('safetensors', () => {
  it('gives back what was written, bit for bit', () => {
    const tensor = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }))
      .chain(([rows, cols]) =>
        fc
          .float32Array({ minLength: rows * cols, maxLength: rows * cols })
          .map((data) => ({ shape: [rows, cols], data })),
      );
    // Such as JavaScript treats in ways of its own: by order, by meaning.
    const odd = fc.constantFrom('__proto__', 'constructor', 'toString', '0', '10', '2');
    const names = fc.oneof(fc.string({ minLength: 1, unit: 'grapheme' }), odd).filter((n) => n !== '__metadata__');
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(names, tensor), { selector: ([n]) => n, minLength: 1 }), (list) => {
        const { tensors, metadata } = readSafetensors(writeSafetensors(list, { rank: '4' }));
        expect(metadata).toEqual({ rank: '4' });
        for (const [name, { shape, data }] of list) {
          expect(tensors.get(name)?.shape).toEqual(shape);
          expect(Buffer.from(tensors.get(name)!.data.buffer)).toEqual(Buffer.from(data.buffer));
        }
      }),
    );
  });

  it('widens F16 and BF16 exactly', () => {
    const half = new Uint8Array(new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000]).buffer);
    const header = { h: { dtype: 'F16', shape: [5], data_offsets: [0, 10] } };
    expect([...readSafetensors(fileOf(header, half)).tensors.get('h')!.data]).toEqual([1, -2, 2 ** -24, 65504, -0]);
    const brain = new Uint8Array(new Uint16Array([0x3f80, 0xc040]).buffer);
    const brainHeader = { b: { dtype: 'BF16', shape: [2], data_offsets: [0, 4] } };
    expect([...readSafetensors(fileOf(brainHeader, brain)).tensors.get('b')!.data]).toEqual([1, -3]);
  });

  it.each<[string, Uint8Array, string]>([
    ['an empty file', bytes(0), 'truncated'],
    ['a header longer than the file', fileOf('{}', bytes(0), 3n), 'truncated'],
    ['a header of 2⁶⁴ − 1 bytes', fileOf('{}', bytes(0), 2n ** 64n - 1n), 'header-size'],
    ['a header of more than 1 MiB', fileOf(`{${' '.repeat(MAX_HEADER_BYTES)}}`), 'header-size'],
    ['a header that begins with a space', fileOf(` ${JSON.stringify({ a: f32(0, 4) })}`, bytes(4)), 'header-json'],
    ['a header that is not JSON', fileOf('{"a":'), 'header-json'],
    ['a header that is not UTF-8', fileOf('{}', bytes(0)).fill(0xff, 9), 'header-json'],
    ['no tensors', fileOf('{}'), 'shape'],
    [
      'one key twice',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":1}', bytes(4)),
      'duplicate-key',
    ],
    ['one key twice, escaped', fileOf(`{"a":1,"\\u0061":${JSON.stringify(f32(0, 4))}}`, bytes(4)), 'duplicate-key'],
    [
      'one key twice inside a tensor',
      fileOf('{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', bytes(4)),
      'duplicate-key',
    ],
    [
      'one key twice in the metadata',
      fileOf(`{"__metadata__":{"k":"a","k":"b"},"a":${JSON.stringify(f32(0, 4))}}`, bytes(4)),
      'duplicate-key',
    ],
    [
      'one key twice in the metadata, escaped',
      fileOf(`{"__metadata__":{"k":"{","\\u006b":"}"},"a":${JSON.stringify(f32(0, 4))}}`, bytes(4)),
      'duplicate-key',
    ],
    ['__proto__ twice', fileOf(`{"__proto__":1,"__proto__":${JSON.stringify(f32(0, 4))}}`, bytes(4)), 'duplicate-key'],
    ['metadata twice', fileOf(`{"__metadata__":{},"a":${JSON.stringify(f32(0, 4))},"__metadata__":{"k":"v"}}`, bytes(4)), 'duplicate-key'], // prettier-ignore
    ['metadata that is a list', fileOf({ __metadata__: ['v'], a: f32(0, 4) }, bytes(4)), 'metadata'],
    ['a side written 1e0', fileOf('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', bytes(4)), 'header-json'],
    ['a side written 1.0', fileOf('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', bytes(4)), 'header-json'],
    [
      'an offset written -0',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}', bytes(4)),
      'header-json',
    ],
    [
      'an offset written 4E0',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4E0]}}', bytes(4)),
      'header-json',
    ],
    ['half a surrogate pair in a name', fileOf(`{"\\ud800":${JSON.stringify(f32(0, 4))}}`, bytes(4)), 'header-json'],
    [
      'half a surrogate pair in the metadata',
      fileOf(`{"__metadata__":{"k":"\\udc00"},"a":${JSON.stringify(f32(0, 4))}}`, bytes(4)),
      'header-json',
    ],
    ['a side that is text', fileOf({ a: f32(0, 4, ['1']) }, bytes(4)), 'shape'],
    ['a shape that is a number', fileOf({ a: f32(0, 4, 1) }, bytes(4)), 'shape'],
    ['offsets that run backwards', fileOf({ a: f32(4, 0, [1]) }, bytes(4)), 'offsets'],
    ['a tensor that is a list', fileOf({ a: [1] }, bytes(4)), 'header-json'],
    ['a header that is a list', fileOf('[{}]', bytes(4)), 'header-json'],
    [
      'a tensor of two kinds',
      fileOf({ a: f32(0, 4, [1]), b: { ...f32(0, 4, [2]), dtype: 'F16' } }, bytes(4)),
      'offsets',
    ],
    [
      'too many tensors',
      fileOf(Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [i, 0]))),
      'too-many-tensors',
    ],
    ['metadata that is not text', fileOf({ __metadata__: { rank: 4 }, a: f32(0, 4) }, bytes(4)), 'metadata'],
    ['a field too many', fileOf({ a: { ...f32(0, 4), extra: 1 } }, bytes(4)), 'header-json'],
    ['a dtype of eight bytes', fileOf({ a: { ...f32(0, 8, [1]), dtype: 'F64' } }, bytes(8)), 'dtype'],
    ['a dtype named like a method', fileOf({ a: { ...f32(0, 4), dtype: 'toString' } }, bytes(4)), 'dtype'],
    ['a negative side', fileOf({ a: f32(0, 4, [-1]) }, bytes(4)), 'shape'],
    ['an empty side', fileOf({ a: f32(0, 0, [0]) }), 'shape'],
    ['nine sides', fileOf({ a: f32(0, 4, [1, 1, 1, 1, 1, 1, 1, 1, 1]) }, bytes(4)), 'shape'],
    ['sides whose product wraps', fileOf({ a: f32(0, 0, [2 ** 32, 2 ** 32]) }), 'offsets'],
    [
      'an offset beyond 2⁵³',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9007199254740993]}}'),
      'offsets',
    ],
    ['a tensor beyond the end', fileOf({ a: f32(0, 8) }, bytes(4)), 'offsets'],
    ['bytes after the last tensor', fileOf({ a: f32(0, 4) }, bytes(5)), 'offsets'],
    ['a gap', fileOf({ a: f32(0, 4), b: f32(8, 12) }, bytes(12)), 'offsets'],
    ['an overlap', fileOf({ a: f32(0, 8), b: f32(4, 12) }, bytes(12)), 'offsets'],
    ['a beginning above 0', fileOf({ a: f32(4, 8) }, bytes(8)), 'offsets'],
  ])('refuses %s', (_, file, fault) => {
    expect(faultOf(file)).toBe(fault);
  });

  it('never fails in another way, whatever the bytes', () => {
    const valid = writeSafetensors([['a', { shape: [2], data: new Float32Array([1, 2]) }]], { k: 'v' });
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const file = valid.slice();
        file[at] = value;
        faultOf(file);
      }),
      { numRuns: 2_000 },
    );
  });

  it('accepts exactly the headers that describe the bytes, each byte once', () => {
    const WIDTHS: Record<string, number> = { F32: 4, F16: 2, BF16: 2 };
    const side = fc.constantFrom<unknown>(1, 1, 2, 3, 0, -1, 2 ** 53, 1.5, '1', null);
    const tensor = fc.record({
      name: fc.constantFrom('a', 'b', 'c', '0', '__proto__'),
      dtype: fc.constantFrom('F32', 'F32', 'F16', 'BF16', 'F64', 'f32'),
      shape: fc.array(side, { maxLength: 3 }),
      // Where it lies against the end of the one before, and how much more it takes than its shape says.
      shift: fc.constantFrom(0, 0, 0, 0, 1, -1),
      more: fc.constantFrom(0, 0, 0, 0, 4, -2),
    });
    const file = fc.tuple(fc.array(tensor, { maxLength: 3 }), fc.constantFrom(0, 0, 0, 1), fc.boolean());
    let accepted = 0;
    fc.assert(
      fc.property(file, ([tensors, trailing, reversed]) => {
        let end = 0;
        let isSound =
          tensors.length > 0 && trailing === 0 && new Set(tensors.map(({ name }) => name)).size === tensors.length;
        const fields = tensors.map(({ name, dtype, shape, shift, more }) => {
          const sides = shape.map(Number);
          const isWhole = shape.every((value) => Number.isSafeInteger(value) && (value as number) > 0);
          const size = isWhole && WIDTHS[dtype] ? sides.reduce((product, value) => product * value, WIDTHS[dtype]) : 4;
          isSound &&= isWhole && WIDTHS[dtype] !== undefined && shift === 0 && more === 0;
          const offsets = [end + shift, end + shift + size + more];
          end += size;
          return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: offsets })}`;
        });
        const header = `{${(reversed ? fields.reverse() : fields).join()}}`;
        if (isSound) accepted += 1;
        expect([header, faultOf(fileOf(header, bytes(end < 1000 ? end + trailing : 0))) === 'none']).toEqual([
          header,
          isSound && end < 1000,
        ]);
      }),
      { numRuns: 5_000, seed: 1 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it('reads text that merely looks like what is refused', () => {
    const metadata = { '1e2': '-0 {"a":1,"a":2}', '\\ud800': '😀', '\\"': '\\u0061' };
    const a = { shape: [1], data: new Float32Array([1]) };
    expect(readSafetensors(writeSafetensors([['a{"', a]], metadata))).toMatchObject({ metadata });
    expect(faultOf(fileOf(`{"\\ud83d\\ude00":${JSON.stringify(f32(0, 4))}}`, bytes(4)))).toBe('none');
  });

  it('hashes tensors, not their order or metadata', () => {
    const one = { shape: [1], data: new Float32Array([1]) };
    const two = { shape: [1], data: new Float32Array([2]) };
    const hash = (file: Uint8Array) => tensorHash(readSafetensors(file).tensors);
    const there = hash(writeSafetensors([['a', one], ['b', two]], { by: 'x' })); // prettier-ignore
    expect(hash(writeSafetensors([['b', two], ['a', one]]))).toBe(there); // prettier-ignore
    expect(hash(writeSafetensors([['a', two], ['b', one]]))).not.toBe(there); // prettier-ignore
    expect(there).toMatch(/^[0-9a-f]{64}$/);
  });
});
