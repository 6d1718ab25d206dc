/** What a draw is computed from: the auditor draws with it, and whoever verifies the draws computes the same. */
import { createHmac } from 'node:crypto';
import { uFrom } from '../domain/audit-sampling';
import { sha256Hex } from './canonical';

/**
 * u of a job: the first 8 bytes, big-endian, of `HMAC-SHA256(secret of the epoch, job id)`, the id as its 36 lowercase
 * characters. Anyone can repeat it once the secret is out.
 */
export function drawU(secret: Uint8Array, jobId: string): bigint {
  return uFrom(createHmac('sha256', secret).update(jobId.toLowerCase()).digest());
}

/** Whether SHA-256 of the 32 secret bytes (hex) is what was published when the epoch opened; if not, the draw was changed. */
export function opensCommitment(secretHex: string, commitment: string): boolean {
  if (!/^[0-9a-f]{64}$/.test(secretHex)) return false;
  return sha256Hex(Buffer.from(secretHex, 'hex')) === commitment;
}
