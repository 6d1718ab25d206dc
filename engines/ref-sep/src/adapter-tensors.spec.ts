import { parameterCount } from './adapter';
import { type TensorFile, adapterFromTensors, adapterToTensors } from './adapter-tensors';

const adapter = {
  rank: 2,
  resolution: 64,
  parameters: Float32Array.from({ length: parameterCount(2) }, (_, i) => i / 7),
};

/** The adapter's file with one thing changed. */
function changed(change: (metadata: Record<string, string>, tensors: Map<string, object>) => void): TensorFile {
  const { metadata, tensors } = adapterToTensors(adapter);
  const copy = { metadata: { ...metadata }, tensors: new Map(tensors) };
  change(copy.metadata, copy.tensors);
  return copy;
}

describe('tensors of an adapter', () => {
  it('come back as the same adapter', () => {
    expect(adapterFromTensors(adapterToTensors(adapter))).toEqual(adapter);
  });

  it('carry the names that LoRA tools expect, and string metadata', () => {
    const { metadata, tensors } = adapterToTensors(adapter);
    expect(metadata).toEqual({ engine: 'ref-sep-v1', rank: '2', resolution: '64' });
    expect([...tensors].map(([name, { shape }]) => `${name} ${shape.join('×')}`)).toEqual([
      'x.hidden.lora_A.weight 2×65',
      'x.hidden.lora_B.weight 64×2',
      'x.hidden.bias 64',
      'x.output.lora_A.weight 2×64',
      'x.output.lora_B.weight 32×2',
      'x.output.bias 32',
      'y.hidden.lora_A.weight 2×65',
      'y.hidden.lora_B.weight 64×2',
      'y.hidden.bias 64',
      'y.output.lora_A.weight 2×64',
      'y.output.lora_B.weight 96×2',
      'y.output.bias 96',
      'colour.bias 3',
    ]);
  });

  const bias = (over: object): object => ({ dtype: 'F32', shape: [32], data: new Float32Array(32), ...over });
  it.each([
    ['of another engine', changed((m) => (m.engine = 'flux')), 'metadata.engine is flux'],
    ['without a rank', changed((m) => delete m.rank), 'metadata.rank must be a whole number from 1 to 32, not missing'],
    ['of rank 2.0', changed((m) => (m.rank = '2.0')), 'metadata.rank must be'],
    ['with a tensor left out', changed((_, t) => t.delete('colour.bias')), 'it has 12 tensors, not 13'],
    ['with a strange tensor', changed((_, t) => (t.delete('x.output.bias'), t.set('z', bias({})))), 'is missing'],
    ['of another shape', changed((_, t) => t.set('x.output.bias', bias({ shape: [4, 8] }))), 'is 4×8, not 32'],
    ['of another type', changed((_, t) => t.set('x.output.bias', bias({ dtype: 'F16' }))), 'is F16, not F32'],
    [
      'with a NaN',
      changed((_, t) => t.set('x.output.bias', bias({ data: new Float32Array(32).fill(NaN) }))),
      'tensor x.output.bias holds NaN',
    ],
  ])('are refused %s', (_, file, complaint) => {
    expect(() => adapterFromTensors(file)).toThrow(complaint);
    expect(() => adapterFromTensors(file)).toThrow('not a LoRA of ref-sep-v1: ');
  });
});
