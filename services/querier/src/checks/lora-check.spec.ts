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
