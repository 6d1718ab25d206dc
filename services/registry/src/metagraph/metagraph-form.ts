/**
 * What a source of the metagraph says, in one form, checked. Two forms come in:
 *
 * - ours: `{block?, neurons: [{hotkey, uid, coldkey, stake}]}`;
 * - the sidecar's (bittensor-pylon): `{block: {number, hash}, neurons: {"<hotkey>": {uid, coldkey, hotkey, stake,
 *   stakes: {alpha, tao, total}, …}}}`, of which only what is needed is read, because it grows with every release.
 */
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsInt,
  IsOptional,
  IsString,
  Matches,
  Max,
  Min,
  Validate,
  ValidateNested,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { refusal, validated } from '@studio/shared/contract/validated';
import { decodeSs58 } from '@studio/shared/protocol/ss58';

/** A subnet has 256 neurons; the chain numbers them with 16 bits. */
const MAX_NEURONS = 65_536;
const MAX_UID = MAX_NEURONS - 1;

@ValidatorConstraint()
class IsSs58 implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return typeof value === 'string' && decodeSs58(value) !== undefined;
  }

  defaultMessage(): string {
    return 'has to be an SS58 address with prefix 42';
  }
}

export class Neuron {
  @Validate(IsSs58)
  hotkey!: string;

  @IsInt()
  @Min(0)
  @Max(MAX_UID)
  uid!: number;

  @Validate(IsSs58)
  coldkey!: string;

  /** As the source wrote it; only for reading. */
  @IsString()
  @Matches(/^\d{1,30}(\.\d{1,30})?(e[+-]?\d{1,3})?$/, { message: 'has to be a number that is not negative' })
  stake!: string;
}

export class Metagraph {
  /** Null where the source names none. */
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  block!: number | null;

  @IsArray()
  @ArrayMinSize(1, { message: 'has no members: that cannot be this subnet' })
  @ArrayMaxSize(MAX_NEURONS)
  @ArrayUnique(({ hotkey }: Neuron) => hotkey, { message: 'names a hotkey twice' })
  @ArrayUnique(({ uid }: Neuron) => uid, { message: 'gives a uid twice' })
  @ValidateNested({ each: true })
  @Type(() => Neuron)
  neurons!: Neuron[];
}

/** @throws StudioError INVALID_INPUT naming what is wrong. */
export function readMetagraph(said: unknown): Metagraph {
  const { block, neurons } = fields(said, 'metagraph');
  return validated(Metagraph, { block: blockNumber(block), neurons: neuronRows(neurons) }, 'metagraph');
}

function blockNumber(block: unknown): unknown {
  return typeof block === 'object' && block !== null ? (block as { number?: unknown }).number : (block ?? null);
}

function neuronRows(neurons: unknown): unknown[] {
  if (Array.isArray(neurons)) {
    return neurons.map((neuron: unknown, index) => neuronRow(fields(neuron, `metagraph.neurons.${index}`)));
  }
  return Object.entries(fields(neurons, 'metagraph.neurons')).map(([hotkey, said]) => {
    const path = `metagraph.neurons.${hotkey}`;
    const neuron = fields(said, path);
    if (neuron.hotkey === hotkey) return neuronRow(neuron);
    throw refusal([{ path: `${path}.hotkey`, message: 'is another one than its key' }]);
  });
}

function neuronRow({ hotkey, uid, coldkey, stake, stakes }: Record<string, unknown>): object {
  const total = stake ?? (stakes as { total?: unknown } | undefined)?.total;
  return { hotkey, uid, coldkey, stake: typeof total === 'number' ? String(total) : total };
}

function fields(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refusal([{ path, message: 'has to be a JSON object' }]);
}
