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
