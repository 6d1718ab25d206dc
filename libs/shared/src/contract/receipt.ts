import type { Engine, JobFailure, JobInput, JobKind, JobState } from '../domain/job';

/**
 * A miner's half of a job's receipt, kept with the attempt: its signature over what it answered, with all that is needed
 * to check it again. `reply`: over `status|body_sha256|nonce|recipient` (a 200). `request`: over
 * `method|path|body_sha256|timestamp|nonce|recipient` (a callback). See protocol/signatures.ts.
 */
export type MinerReceipt = ReplyReceipt | CallbackReceipt;

interface SignedByMiner {
  hotkey: string;
  /** SHA-256 of the multipart body as it came, hex. */
  body_sha256: string;
  /** Of the request that was answered, or of the callback itself. */
  nonce: string;
  /** The orchestrator's hotkey. */
  recipient: string;
  /** 0x and 128 hex digits. */
  signature: string;
}

export interface ReplyReceipt extends SignedByMiner {
  form: 'reply';
  status: number;
}

export interface CallbackReceipt extends SignedByMiner {
  form: 'request';
  method: string;
  path: string;
  timestamp: string;
}

export const RECEIPT_FORMAT = 'studio-job-receipt-v1';

/** A file that came out of a job. Two files with one content hash hold the same picture, or the same tensors. */
export interface ReceiptFile {
  sha256: string;
  bytes: number;
  content_type: string;
  /** `pixelHash` of an image, `tensorHash` of a LoRA (domain/job.ts). */
  content_hash: string;
}

export interface ReceiptMiner {
  hotkey: string;
  dialect: 'native' | 'dippy';
  attempt: number;
  sent_at: string;
  finished_at: string;
  /** Microseconds: by our clock, credited for the network, and net. */
  raw_us: number;
  credit_us: number;
  net_us: number;
  /** What the miner itself signed; null where its dialect has no signatures. */
  signed: MinerReceipt | null;
}

export interface ReceiptVerdict {
  outcome: 'valid' | 'invalid' | 'inconclusive';
  reason: string;
  /** In which it was reached, and at whose close it became public. */
  epoch: number;
  decided_at: string;
  /** What took it back since; null while it stands. */
  corrected_by: 'appeal' | 'amnesty' | null;
}

/** What the orchestrator signs of a finished job. Times are ISO 8601, UTC. */
export interface JobReceipt {
  format: typeof RECEIPT_FORMAT;
  /** SS58 of who signs. */
  orchestrator: string;
  issued_at: string;
  job_id: string;
  kind: JobKind;
  engine: Engine;
  state: JobState;
  created_at: string;
  finished_at: string;
  /** SHA-256 of the canonical JSON of the job's input (RFC 8785). */
  input_sha256: string;
  /** The photograph as it was trained on, or the LoRA that was rendered with. */
  input_file_sha256: string;
  seed: number;
  outputs: ReceiptFile[];
  failure: JobFailure | null;
  /** Whose result it is; null where there is none. */
  miner: ReceiptMiner | null;
  /** Null while there is none, or none that is public. */
  verdict: ReceiptVerdict | null;
}

/** `GET /v1/jobs/{id}/receipt`. */
export interface SignedReceipt {
  receipt: JobReceipt;
  /** The orchestrator's, over `receipt` (protocol/receipt-signature.ts). */
  signature: string;
  /** What `input_sha256` is the hash of. Prompts are private: whoever passes a receipt on may leave it out. */
  input?: JobInput;
}
