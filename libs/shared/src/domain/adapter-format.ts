/**
 * What a LoRA of an engine has to look like, as data. Read by the tier-1 check of every training result and upload.
 * Names follow the usual form `<module>.lora_A.weight` (rank × inputs), `<module>.lora_B.weight` (outputs × rank).
 */
import type { Engine } from './job';

export interface LoraModule {
  name: string;
  inputs: number;
  outputs: number;
}

export interface AdapterFormat {
  engine: Engine;
  /** The allow-list. Every one of them has to be there, with A and B. */
  modules: readonly LoraModule[];
  /** Whether each module carries `<module>.bias` (outputs). */
  moduleBias: boolean;
  /** Tensors that belong to no module. */
  extras: readonly { name: string; length: number }[];
  maxRank: number;
  /** How the numbers are stored; the engine renders no other. */
  dtype: 'F32' | 'F16' | 'BF16';
  /**
   * Whether the file's metadata has to name `engine`, `rank` and `resolution`, truly: where the engine will not render
   * without, a file that lacks them would make every honest renderer fail.
   */
  describesItself: boolean;
  /** Largest ‖B·A‖ (Frobenius) of one module. */
  maxDeltaNorm: number;
  /** Smallest of all modules together: below, nothing was trained, whatever A and B hold. */
  minDeltaNorm: number;
  /** Largest norm of a bias or an extra. */
  maxBiasNorm: number;
}

/**
 * The separable coordinate network (engines/ref-sep): two branches of two linear layers, and three colour offsets.
 * The norms are bounds against garbage, not against bad training. Largest of honest trainings (two photographs; 64², 300
 * steps, rank 16; 32², 2000 steps, rank 32; 16², 2000 steps, rank 1): ‖B·A‖ 25, a bias 7.7; the bounds are 40 times that.
 * Smallest of all modules together, after a single step at rank 1, the base's own picture and flat ones included: 0.23.
 */
const REF_SEP: AdapterFormat = {
  engine: 'ref-sep-v1',
  modules: [
    { name: 'x.hidden', inputs: 65, outputs: 64 },
    { name: 'x.output', inputs: 64, outputs: 32 },
    { name: 'y.hidden', inputs: 65, outputs: 64 },
    { name: 'y.output', inputs: 64, outputs: 96 },
  ],
  moduleBias: true,
  extras: [{ name: 'colour.bias', length: 3 }],
  maxRank: 32,
  dtype: 'F32',
  describesItself: true,
  maxDeltaNorm: 1_000,
  minDeltaNorm: 0.01,
  maxBiasNorm: 300,
};

/** Engines without an entry cannot have their LoRAs checked yet: none is accepted for them. */
export const ADAPTER_FORMATS: readonly AdapterFormat[] = [REF_SEP];

export function adapterFormat(engine: Engine): AdapterFormat | undefined {
  return ADAPTER_FORMATS.find((format) => format.engine === engine);
}

export const loraA = (module: string): string => `${module}.lora_A.weight`;
export const loraB = (module: string): string => `${module}.lora_B.weight`;
export const loraBias = (module: string): string => `${module}.bias`;

/** Every tensor that an adapter of this rank has, and nothing else: name → shape (row-major). */
export function adapterShapes(format: AdapterFormat, rank: number): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (const { name, inputs, outputs } of format.modules) {
    shapes.set(loraA(name), [rank, inputs]);
    shapes.set(loraB(name), [outputs, rank]);
    if (format.moduleBias) shapes.set(loraBias(name), [outputs]);
  }
  for (const { name, length } of format.extras) shapes.set(name, [length]);
  return shapes;
}
