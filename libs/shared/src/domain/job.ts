/**
 * The words of the system.
 *
 * - **job**: one piece of work that a client submitted: train a LoRA, or render images with one.
 * - **attempt**: one dispatch of a job to one miner. A job may need several; exactly one can be accepted.
 * - **lease**: a worker's right to move a job, bounded in database time; `leaseNo` fences writes of an earlier holder.
 * - **miner**: an untrusted HTTP endpoint, known by its **hotkey** (sr25519, SS58). Its **operator** owns it.
 * - **reference**: a trusted, unpaid miner on which audits are replayed.
 * - **award / reversal / restoration**: the ledger entries that give, take and give back a miner's points.
 * - **epoch**: the interval between two snapshots of the scores.
 */

export type JobKind = 'lora-training' | 'lora-inference';

/** `ref-sep-v1`: the deterministic CPU reference engine. `flux`: diffusion on GPUs, not bit-equal across machines. */
export type Engine = 'ref-sep-v1' | 'flux';

export type JobState = 'queued' | 'running' | 'awaiting-callback' | 'succeeded' | 'failed' | 'cancelled' | 'expired';

/**
 * `open` is the only state that can still change. `accepted` is the attempt whose result the job has (at most one a job);
 * `invalid`: a result came and failed a check; `failed`: no result; `busy`: 429, no penalty, the turn is used;
 * `timeout`: the deadline of the kind passed; `superseded`: another attempt won, nothing is held against the miner;
 * `cancelled`: the client took the job back, likewise.
 */
export type AttemptState = 'open' | 'accepted' | 'invalid' | 'failed' | 'busy' | 'timeout' | 'superseded' | 'cancelled';

/** Who an unsuccessful attempt is held against. Only `miner` counts. */
export type Blame = 'none' | 'miner' | 'network' | 'ours';

/** A stored file, known by the SHA-256 (64 lowercase hex digits) of its bytes. */
export interface ArtifactRef {
  sha256: string;
  bytes: number;
  contentType: string;
}

/** A stored image. `pixelHash` = SHA-256 over `width|height|` and the decoded RGB bytes: PNG bytes differ between encoders. */
export interface ImageRef extends ArtifactRef {
  width: number;
  height: number;
  pixelHash: string;
}

/** A stored LoRA. `tensorHash` = SHA-256 over the sorted tensors' names, shapes and bytes, without metadata. */
export interface LoraRef extends ArtifactRef {
  rank: number;
  tensorHash: string;
}

/** Image to train on: canonicalised once by the orchestrator, so that every miner sees the same pixels. */
export interface TrainingInput {
  image: ImageRef;
  /** Side of the square the image was resized to, in pixels. */
  resolution: number;
  steps: number;
  rank: number;
  /** 0 … 2³²−1; never null: a miner that picks its own seed could not be replayed. */
  seed: number;
}

export interface InferenceInput {
  lora: LoraRef;
  prompt: string;
  width: number;
  height: number;
  seed: number;
  /** Strength of the LoRA: 0 gives the base model, 1 the adapter as trained. */
  loraScale: number;
  /** How far prompt and seed bend the picture, 0 … 1. */
  warp: number;
  numImages: number;
}

export type JobInput = TrainingInput | InferenceInput;

export interface TrainingResult {
  lora: LoraRef;
}

export interface InferenceResult {
  images: ImageRef[];
}

export type JobResult = TrainingResult | InferenceResult;

/** Restricts or prefers who does a job. Used by the auditor alone; no miner ever sees it. */
export interface RoutingRule {
  /** Nobody else, and again after a failure. A reference is asked only where it is named here. */
  onlyHotkey?: string;
  /** Its first attempt goes to this miner if it can take it at that moment; from then on it is a job like any other. */
  firstHotkey?: string;
  excludeOperators?: string[];
}

/** What a miner says of its own work: shown to the client, believed by nobody, and nothing is decided by it. */
export interface AttemptProgress {
  step: number;
  total: number;
  /** ISO 8601. */
  at: string;
  /** One at every twentieth of the way at most. */
  marks: { step: number; at: string }[];
}

/** How a client is handed its images: by default PNG files by link. */
export interface Presentation {
  format?: 'jpeg';
  /** In the result itself, as data URIs. */
  inline?: true;
}

export interface JobFailure {
  code: string;
  message: string;
}
