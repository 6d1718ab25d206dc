/**
 * Latency with the network factored in (incentive.md): ℓ = max(0, raw − δ). All times are whole microseconds, so that
 * a stored latency gives the same points wherever it is recomputed.
 */
import { cutoffUs } from './points';

export interface NetworkPath {
  /** Least TCP connect time to the miner's host:port, in µs; 0 where it was never measured. */
  rttMinUs: number;
  /** Whether the request opened a TLS connection instead of using a kept-alive one. */
  freshTls: boolean;
  /** Size of the canonical (re-encoded) artifact, not of the response: padding a response earns nothing. */
  canonicalBytes: number;
  /** T_max of the job, in ms. */
  tMaxMs: number;
}

/** TCP, then two TLS flights; a kept-alive connection costs one round trip. */
const ROUND_TRIPS_FRESH = 3;
const ROUND_TRIPS_KEPT_ALIVE = 1;

/** No honest path on Earth needs more for its round trips; above it a miner could be delaying its SYN-ACKs. */
const ROUND_TRIP_CAP_US = 250_000;

/** Each term is at most 2 % of T_max: what a miner can gain by gaming one is 0.02 / 0.9 = 2.2 % of a job. */
const TERM_CAP_DIVISOR = 50;

/** The reference bandwidth, 100 Mbit/s, is 100 bits per µs. Fixed, so that a slow link is the miner's own affair. */
const REFERENCE_BITS_PER_US = 100;

const US_PER_MS = 1_000;

/** How many of the latest valid samples of a kind stand in for a void one. */
export const VOID_SAMPLE_MEMORY = 20;

/**
 * δ in whole µs: `min(k·rttMin, min(250 ms, 0.02·T_max)) + min(bytes / 100 Mbit/s, 0.02·T_max)`.
 * @throws RangeError if a figure is negative or not finite.
 */
export function networkCreditUs({ rttMinUs, freshTls, canonicalBytes, tMaxMs }: NetworkPath): number {
  for (const [name, value] of Object.entries({ rttMinUs, canonicalBytes, tMaxMs })) {
    if (!(value >= 0 && value < Infinity)) throw new RangeError(`${name} must be finite and not negative, is ${value}`);
  }
  const termCapUs = Math.floor((tMaxMs * US_PER_MS) / TERM_CAP_DIVISOR);
  const roundTrips = freshTls ? ROUND_TRIPS_FRESH : ROUND_TRIPS_KEPT_ALIVE;
  const roundTripUs = Math.min(roundTrips * Math.round(rttMinUs), ROUND_TRIP_CAP_US, termCapUs);
  const transferUs = Math.min(Math.floor((canonicalBytes * 8) / REFERENCE_BITS_PER_US), termCapUs);
  return roundTripUs + transferUs;
}

/** ℓ in whole µs, from the raw latency and the credit δ (both µs). Never negative. */
export function netLatencyUs(rawUs: number, creditUs: number): number {
  return Math.max(0, Math.round(rawUs) - creditUs);
}

/** The median in whole µs (mean of the middle two, rounded down, for an even count); undefined for no values. */
export function medianUs(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  if (upper === undefined) return undefined;
  const lower = sorted[(sorted.length - 1) >> 1] ?? upper;
  return Math.floor((lower + upper) / 2);
}

/**
 * ℓ of a void sample: one that a fault of ours spoiled. The median of the miner's latest valid samples of the kind, so
 * that our faults never lower a score; without any, the latency at which the curve gives one half.
 *
 * @param recentValidUs the miner's valid samples of this kind, newest first; only the first 20 are read.
 * @param cutoffShare the policy's `latencyCutoffShare`.
 */
export function voidLatencyUs(recentValidUs: readonly number[], tMaxMs: number, cutoffShare?: number): number {
  return medianUs(recentValidUs.slice(0, VOID_SAMPLE_MEMORY)) ?? fallbackLatencyUs(tMaxMs, cutoffShare);
}

/** The latency with f(ℓ) = 0.5: half of C. For an odd C the µs is rounded down, in the miner's favour. */
export function fallbackLatencyUs(tMaxMs: number, cutoffShare?: number): number {
  return Math.floor(cutoffUs(tMaxMs, cutoffShare) / 2);
}
