import { adapterFormat, adapterShapes } from '../domain/adapter-format';
import { writeSafetensors } from '../protocol/safetensors';

/** A LoRA of ref-sep-v1 that every check lets through, made without a training. `more`: metadata besides what it needs. */
export function someAdapter(rank: number, resolution: number, more: Record<string, string> = {}): Buffer {
  const tensors = [...adapterShapes(adapterFormat('ref-sep-v1')!, rank)].map(([name, shape]) => {
    const length = shape.reduce((product, side) => product * side, 1);
    return [name, { shape, data: Float32Array.from({ length }, (_, i) => ((i * 7_919) % 251) / 2_510) }] as const;
  });
  const metadata = { engine: 'ref-sep-v1', rank: String(rank), resolution: String(resolution), ...more };
  return Buffer.from(writeSafetensors(tensors, metadata));
}
