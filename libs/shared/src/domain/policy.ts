/**
 * The policy: every number that decides a score, in one versioned record. Ledger rows, draws and snapshots carry its
 * version, so that a score can be recomputed from an export years later. A change is a new version, never an edit.
 */
import { PERCEPTUAL_THRESHOLDS, type PerceptualThresholds } from './perceptual-thresholds';

export interface Policy {
  version: number;
  /** Share of T_max after which a result earns nothing (seed §3.1). */
  latencyCutoffShare: number;
  /** Whether network time is taken off the measured latency; `false` reads the seed's "factored in" as "included". */
  networkCredit: boolean;
  /** Epochs whose awards count towards a score; 0 = since the beginning. */
  windowEpochs: number;
  /** Epochs after its own in which an award can still be reversed. */
  finalityEpochs: number;
  /** T of the softmax over win rates; 0.0015 ≤ T ≤ 1000. */
  temperature: number;
  /** Blocks of an epoch and milliseconds of a block: 360 × 12 s = 72 min (the seed's "20 minutes" would be 3 333 ms a block). */
  epochBlocks: number;
  blockMs: number;
  /** How long a closing epoch waits for drawn audits before the undecided ones end as inconclusive, in ms. */
  closeBoundMs: number;
  maxAttempts: number;
  leaseMs: number;
  /** Epochs that a quarantine lasts. */
  quarantineEpochs: number;
  audit: AuditPolicy;
  routing: RoutingPolicy;
}

/** Who gets the next job, and when a second miner is asked. Times in ms. */
export interface RoutingPolicy {
  /** Slots that a newcomer is believed to have; more once it has filled them (slot-ramp.ts). */
  rampStart: number;
  /** A miner that was not asked for this long although it had a free slot comes first: the exploration floor. */
  exploreAfterMs: number;
  /** How many turns per slot a miner that holds the LoRA may run ahead of the one whose turn it is. */
  loraLeadTurns: number;
  /** How many turns per slot a miner that could not be asked may catch up afterwards. */
  creditTurns: number;
  /** Failures in a row that open a miner's circuit breaker, and for how long; doubled with each failed probe. */
  breakerFailures: number;
  breakerOpenMs: number;
  breakerMaxMs: number;
  /** A second attempt is sent when the first is slower than this share of the kind's latest results. */
  hedgeQuantile: number;
  /** Results that the quantile is taken from; with fewer, `hedgeDefaultShare` of T_max. */
  hedgeMinSamples: number;
  hedgeDefaultShare: number;
  /** No hedge before this share of T_max: a kind that takes milliseconds would hedge on every hiccup. */
  hedgeFloorShare: number;
  /** Second attempts per job, at most: what hedging may cost the miners' capacity. */
  hedgeBudget: number;
}

export interface AuditPolicy {
  /** q = 1 for this many first jobs of a (miner, kind). */
  probationJobs: number;
  baseRate: number;
  /** Rate once the Wilson lower bound of the pass rate reaches `trustedWilson`. */
  trustedRate: number;
  trustedWilson: number;
  wilsonZ: number;
  /** Fewest audits per (miner, kind) and epoch; filled with the lowest `u` among undrawn jobs. */
  floorPerEpoch: number;
  /** Detection power of a judge: 1 with a trusted reference, 0.51 for a quorum of peers (audit.md). */
  kappaReference: number;
  kappaQuorum: number;
  /** log-likelihood steps of the CUSUM for p₀ = 0.001 against p₁ = 0.05. */
  cusumFail: number;
  cusumPass: number;
  cusumThreshold: number;
  /** Mean of the exponential delay before an audit job is sent, in ms. */
  meanDelayMs: number;
  /** |cosine| of ΔW at or above which two adapters of different training images are one copied from the other. */
  copyCosine: number;
  /** Independent operators that a lane needs, besides the miner's own, to be paid for without a trusted reference. */
  quorumOperators: number;
  /** Appeals that a miner may file in one epoch: each costs two replays. */
  appealsPerEpoch: number;
  /** For engines whose results are not bit-equal across machines. */
  perceptual: PerceptualThresholds;
  canary: CanaryPolicy;
}

/** Jobs of our own where clients send too few for a miner to be measured by. */
export interface CanaryPolicy {
  /** Fewest jobs per (miner, kind, engine) and epoch, clients' jobs included; 0: none are made. */
  floorPerEpoch: number;
  /** Share of them whose answer a reference is asked for first, so that they are compared at once. */
  knownShare: number;
}

/** The defaults of incentive.md and audit.md. */
export const DEFAULT_POLICY: Policy = {
  version: 2,
  latencyCutoffShare: 0.9,
  networkCredit: true,
  windowEpochs: 20,
  finalityEpochs: 2,
  temperature: 0.075,
  epochBlocks: 360,
  blockMs: 12_000,
  closeBoundMs: 600_000,
  maxAttempts: 3,
  leaseMs: 15_000,
  quarantineEpochs: 20,
  audit: {
    probationJobs: 20,
    baseRate: 0.1,
    trustedRate: 0.05,
    trustedWilson: 0.97,
    wilsonZ: 1.645,
    floorPerEpoch: 3,
    kappaReference: 1,
    kappaQuorum: 0.51,
    cusumFail: 3.912,
    cusumPass: -0.0503,
    cusumThreshold: 11,
    meanDelayMs: 120_000,
    copyCosine: 0.98,
    quorumOperators: 3,
    appealsPerEpoch: 20,
    perceptual: PERCEPTUAL_THRESHOLDS,
    canary: { floorPerEpoch: 3, knownShare: 0.5 },
  },
  routing: {
    rampStart: 1,
    exploreAfterMs: 120_000,
    loraLeadTurns: 2,
    creditTurns: 2,
    breakerFailures: 5,
    breakerOpenMs: 15_000,
    breakerMaxMs: 600_000,
    hedgeQuantile: 0.95,
    hedgeMinSamples: 20,
    hedgeDefaultShare: 0.5,
    hedgeFloorShare: 0.1,
    hedgeBudget: 0.1,
  },
};

/** The policy of `npm start`: the same mechanism at a pace a person can watch. */
export const DEMO_POLICY: Policy = {
  ...DEFAULT_POLICY,
  version: 1_001,
  closeBoundMs: 60_000,
  leaseMs: 5_000,
  audit: { ...DEFAULT_POLICY.audit, probationJobs: 3, meanDelayMs: 300 },
};

/**
 * A stored policy with the figures that its version did not know yet. It is the same policy: what came later has the value
 * that was in force without it.
 */
export function completePolicy(stored: Policy): Policy {
  const canary = stored.audit.canary ?? { floorPerEpoch: 0, knownShare: 0 };
  return {
    ...DEFAULT_POLICY,
    ...stored,
    routing: { ...DEFAULT_POLICY.routing, ...stored.routing },
    audit: { ...DEFAULT_POLICY.audit, ...stored.audit, canary },
  };
}

export function epochMs(policy: Policy): number {
  return policy.epochBlocks * policy.blockMs;
}
