import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { recogniseLora } from './lora-check';

type Shapes = Record<string, number[]>;

const PEFT: Shapes = {
  'transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight': [4, 8],
  'transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight': [6, 4],
};
const KOHYA: Shapes = {
  'lora_unet_double_blocks_0_img_attn_proj.lora_down.weight': [16, 8],
  'lora_unet_double_blocks_0_img_attn_proj.lora_up.weight': [8, 16],
  'lora_unet_double_blocks_0_img_attn_proj.alpha': [],
};

function file(shapes: Shapes, value: (name: string) => number = () => 0.5): Uint8Array {
  const tensors = Object.entries(shapes).map(([name, shape]): [string, { shape: number[]; data: Float32Array }] => {
    const length = shape.reduce((product, side) => product * side, 1);
    return [name, { shape, data: new Float32Array(length).fill(value(name)) }];
  });
  return writeSafetensors(new Map(tensors));
}

describe('a LoRA of the diffusion engine', () => {
  it.each([
    ['PEFT and diffusers', PEFT, 4],
    ['Kohya', KOHYA, 16],
    ['several modules of different rank', { ...PEFT, ...KOHYA }, 16],
  ])('is recognised in the naming of %s', (_, shapes, rank) => {
    expect(recogniseLora(file(shapes))).toMatchObject({ ok: true, value: { engine: 'flux', rank } });
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['half a pair', file({ ...PEFT, 'single_blocks.9.x.lora_A.weight': [4, 8] }), /one of its two matrices only/],
    ['matrices that do not fit', file({ ...PEFT, 'single_blocks.9.x.lora_A.weight': [4, 8], 'single_blocks.9.x.lora_B.weight': [6, 5] }), /multiplies 6×5 by 4×8/], // prettier-ignore
    ['a convolution', file({ ...PEFT, 'single_blocks.9.x.lora_A.weight': [4, 8, 1], 'single_blocks.9.x.lora_B.weight': [6, 4, 1] }), /which is no LoRA/], // prettier-ignore
    ['rank 0', file({ ...PEFT, 'single_blocks.9.x.lora_A.weight': [0, 8], 'single_blocks.9.x.lora_B.weight': [6, 0] }), /multiplies|no elements|not a sound/], // prettier-ignore
    ['a rank beyond the engine’s', file({ 'single_blocks.9.x.lora_A.weight': [129, 2], 'single_blocks.9.x.lora_B.weight': [2, 129] }), /rank 129 is not between 1 and 128/], // prettier-ignore
    ['a tensor that belongs to no pair', file({ ...PEFT, payload: [1] }), /"payload" is not part of a LoRA/],
    ['NaN', file(PEFT, () => NaN), /not finite/],
    ['an untrained one', file(PEFT, (name) => (name.includes('lora_B') ? 0 : 1)), /untrained/],
    ['an untrained other half', file(PEFT, (name) => (name.includes('lora_A') ? 0 : 1)), /untrained/],
    ['an alpha of many numbers', file({ ...KOHYA, 'lora_unet_double_blocks_0_img_attn_proj.alpha': [1000] }), /alpha of more than one/], // prettier-ignore
    ['a LoRA of another model', file({ 'text_model.encoder.layers.0.q.lora_A.weight': [4, 8], 'text_model.encoder.layers.0.q.lora_B.weight': [6, 4] }), /no engine here/], // prettier-ignore
  ])('is refused with %s', (_, bytes, reason) => {
    expect(recogniseLora(bytes)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });
});
