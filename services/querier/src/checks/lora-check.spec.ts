import { adapterFormat, adapterShapes, loraA, loraB } from '@studio/shared/domain/adapter-format';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { checkLora, recogniseLora } from './lora-check';

const RANK = 4;
const EXPECTED = { engine: 'ref-sep-v1', rank: RANK, resolution: 64 } as const;
const METADATA = { engine: 'ref-sep-v1', rank: String(RANK), resolution: '64' };
type Tensors = Map<string, { shape: number[]; data: Float32Array }>;

/** A sound adapter of small numbers. */
function adapter(rank = RANK): Tensors {
  const shapes = adapterShapes(adapterFormat('ref-sep-v1')!, rank);
  return new Map(
    [...shapes].map(([name, shape]) => {
      const length = shape.reduce((product, side) => product * side, 1);
      return [name, { shape, data: Float32Array.from({ length }, (_, i) => ((i % 13) - 6) / 100) }];
    }),
  );
}

function fileWith(change: (tensors: Tensors) => void): Uint8Array {
  const tensors = adapter();
  change(tensors);
  return writeSafetensors(tensors, METADATA);
}

const A = loraA('x.hidden');
const B = loraB('x.hidden');
const isA = (name: string): boolean => name.includes('lora_A');
const isB = (name: string): boolean => name.includes('lora_B');
const fillEach = (tensors: Tensors, which: (name: string) => boolean, value: (index: number) => number): void =>
  [...tensors].forEach(([name, { data }]) => which(name) && data.forEach((_, index) => (data[index] = value(index))));

/** The same adapter with its numbers in two bytes each, as many trainers write them. */
function halved(dtype: 'F16' | 'BF16'): Uint8Array {
  const file = writeSafetensors(adapter(), METADATA);
  const headerBytes = new DataView(file.buffer).getUint32(0, true);
  const header = new TextDecoder().decode(file.subarray(8, 8 + headerBytes)).replaceAll('F32', dtype);
  const smaller = header.replace(
    /"data_offsets":\[(\d+),(\d+)\]/g,
    (_, begin, end) => `"data_offsets":[${+begin / 2},${+end / 2}]`,
  );
  const text = new TextEncoder().encode(smaller);
  const halves = new Uint8Array((file.length - 8 - headerBytes) / 2);
  const out = new Uint8Array(8 + text.length + halves.length);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 8);
  return out;
}

describe('checking a LoRA', () => {
  it('accepts a sound one and says what it is', () => {
    const file = writeSafetensors(adapter(), METADATA);
    const facts = { engine: 'ref-sep-v1', rank: RANK, tensorHash: expect.stringMatching(/^[0-9a-f]{64}$/) };
    expect(checkLora(file, EXPECTED)).toEqual({ ok: true, value: facts });
    expect(recogniseLora(file)).toEqual({ ok: true, value: facts });
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['bytes that are no safetensors file', Buffer.from('PK\x03\x04 a zip file'), /not a sound safetensors file/],
    ['another rank', writeSafetensors(adapter(8)), /8×65 instead of 4×65/],
    ['no metadata', writeSafetensors(adapter()), /metadata.engine has to be ref-sep-v1/],
    ['a lie about its rank', writeSafetensors(adapter(), { ...METADATA, rank: '8' }), /metadata.rank has to be 4/],
    [
      'another resolution',
      writeSafetensors(adapter(), { ...METADATA, resolution: '128' }),
      /metadata.resolution has to be 64/,
    ],
    ['a missing B', fileWith((t) => t.delete(B)), /lora_B.weight is missing/],
    ['a missing module', fileWith((t) => [A, B].forEach((name) => t.delete(name))), /is missing/],
    [
      'a foreign tensor',
      fileWith((t) => t.set('payload', { shape: [1], data: new Float32Array(1) })),
      /"payload" is not part/,
    ],
    ['a transposed A', fileWith((t) => (t.get(A)!.shape = [65, RANK])), /65×4 instead of 4×65/],
    ['NaN', fileWith((t) => (t.get(A)!.data[5] = NaN)), /not finite/],
    ['infinity', fileWith((t) => (t.get('colour.bias')!.data[0] = Infinity)), /not finite/],
    [
      'every B zero',
      fileWith((t) => [...t].forEach(([name, { data }]) => name.includes('lora_B') && data.fill(0))),
      /untrained/,
    ],
    [
      'every B −0 and denormal A',
      fileWith((t) => (fillEach(t, isB, () => -0), fillEach(t, isA, () => 1e-45))),
      /untrained/,
    ],
    ['a denormal B', fileWith((t) => fillEach(t, isB, () => 1e-45)), /changes nothing/],
    ['every A zero', fileWith((t) => fillEach(t, isA, () => 0)), /changes nothing/],
    // B's columns cancel: B·A is 0, and neither is.
    [
      'matrices that cancel',
      fileWith((t) => (fillEach(t, isA, () => 0.5), fillEach(t, isB, (i) => (i % 2 ? 1 : -1)))),
      /changes nothing/,
    ],
    ['F16', halved('F16'), /is not stored as F32/],
    ['BF16', halved('BF16'), /is not stored as F32/],
    [
      'one module of another rank',
      fileWith((t) => [A, B].forEach((name) => t.set(name, adapter(8).get(name)!))),
      /8×65 instead of 4×65/,
    ],
    ['a B whose rank is not its A’s', fileWith((t) => t.set(B, adapter(8).get(B)!)), /64×8 instead of 64×4/],
    ['a missing A', fileWith((t) => t.delete(A)), /lora_A.weight is missing/],
    ['a missing bias', fileWith((t) => t.delete('x.hidden.bias')), /x.hidden.bias is missing/],
    [
      'a tensor named __proto__',
      fileWith((t) => t.set('__proto__', { shape: [1], data: new Float32Array(1) })),
      /"__proto__" is not part/,
    ],
    ['a tensor named 0', fileWith((t) => t.set('0', { shape: [1], data: new Float32Array(1) })), /"0" is not part/],
    ['a flat A', fileWith((t) => (t.get(A)!.shape = [RANK * 65])), /260 instead of 4×65/],
    ['−Infinity', fileWith((t) => (t.get(B)!.data[0] = -Infinity)), /not finite/],
    [
      'products beyond any number',
      fileWith((t) =>
        fillEach(
          t,
          (name) => isA(name) || isB(name),
          () => 3e38,
        ),
      ),
      /larger than any training/,
    ],
    [
      'a huge product',
      fileWith((t) => (t.get(A)!.data.fill(1e6), t.get(B)!.data.fill(1e6))),
      /change of module x.hidden/,
    ],
    ['a huge bias', fileWith((t) => t.get('colour.bias')!.data.fill(1e9)), /colour.bias is larger/],
  ])('refuses %s', (_, file, reason) => {
    const checked = checkLora(file, EXPECTED);
    expect(!checked.ok && checked.reason).toMatch(reason);
  });

  it('refuses engines whose LoRAs cannot be checked', () => {
    expect(checkLora(writeSafetensors(adapter()), { ...EXPECTED, engine: 'flux' }).ok).toBe(false);
  });
});
