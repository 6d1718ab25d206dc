import { createHash } from 'node:crypto';
import { exp, EXP_MIN } from '@studio/shared/domain/exp';
import { Chance } from '../chance';

/**
 * SHA-256 over the bits of eˣ at `count` points: half of them in [−40, 0], where weights come from, half down to where a double
 * ends. Two machines with the same digest compute the same weights.
 */
export function expDigest(count: number): string {
  const chance = new Chance(1);
  const values = new DataView(new ArrayBuffer(8 * count));
  for (let i = 0; i < count; i += 1) {
    // Chance's 32 bits twice: points that use the whole mantissa.
    const share = (chance.next() + chance.next() / 2 ** 32) / (1 + 2 ** -32);
    values.setFloat64(8 * i, exp((i % 2 === 0 ? -40 : EXP_MIN) * share));
  }
  return createHash('sha256').update(values).digest('hex');
}
