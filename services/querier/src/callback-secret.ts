import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** Derived, so that a worker that resumes an attempt sends the same one without its ever being stored. */
export function callbackSecret(urlSecret: string, jobId: string, attemptNo: number): string {
  return createHmac('sha256', urlSecret).update(`callback|${jobId}|${attemptNo}`).digest('hex');
}

/** What the database holds of it. */
export function callbackHash(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** In constant time: both sides are digests of equal length. */
export function isCallbackSecret(presented: unknown, stored: Buffer): boolean {
  return typeof presented === 'string' && timingSafeEqual(callbackHash(presented), stored);
}
