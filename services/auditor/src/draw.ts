import { createHmac, randomInt } from 'node:crypto';
import { uFrom } from '@studio/shared/domain/audit-sampling';

/**
 * u of a job: the first 8 bytes, big-endian, of `HMAC-SHA256(secret of the epoch, job id)`, the id as its 36 lowercase
 * characters. Anyone can repeat it once the secret is out.
 */
export function drawU(secret: Uint8Array, jobId: string): bigint {
  return uFrom(createHmac('sha256', secret).update(jobId.toLowerCase()).digest());
}

/** The largest range `randomInt` takes; its steps are far below a millisecond for any mean. */
const RANDOM_STEPS = 2 ** 48 - 1;

/**
 * A random exponential delay in whole ms: memoryless, so that the time since a job tells its miner nothing about
 * whether an audit of it is still to come.
 */
export function exponentialDelayMs(meanMs: number): number {
  const uniform = (randomInt(RANDOM_STEPS) + 1) / RANDOM_STEPS;
  return Math.round(-Math.log(uniform) * meanMs);
}
