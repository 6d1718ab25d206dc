/** What signs a job's receipt: the orchestrator over the whole of it, and the miner over what it answered. */
import { canonicalJson } from './canonical';
import { verifyText, type Signer } from './hotkey';
import { checkClaimNow, HEADERS, readSignedReply, readSignedRequest } from './signatures';

/** Begins the signed text and no other text that a hotkey of ours signs: a signature is good for nothing else. */
const DOMAIN = 'studio-job-receipt-v1';

interface Receipt {
  /** SS58 of the signer. */
  orchestrator: string;
}

/** The exact text that is signed, as UTF-8. */
export function receiptMessage(receipt: Receipt): string {
  return `${DOMAIN}|${canonicalJson(receipt)}`;
}

export function signReceipt(receipt: Receipt, signer: Signer): Promise<string> {
  return signer.sign(receiptMessage(receipt));
}

export function isSignedReceipt(receipt: Receipt, signature: string): boolean {
  return verifyText(receipt.orchestrator, receiptMessage(receipt), signature);
}

interface MinersWord {
  hotkey: string;
  body_sha256: string;
  nonce: string;
  recipient: string;
  signature: string;
}
type MinersReply = MinersWord & { form: 'reply'; status: number };
type MinersCallback = MinersWord & { form: 'request'; method: string; path: string; timestamp: string };

/** Whether the miner signed this answer, once for this recipient. @returns what is wrong; undefined when nothing is. */
export function minersFault(word: MinersReply | MinersCallback): string | undefined {
  const { hotkey, body_sha256: sha256, nonce, recipient, signature } = word;
  const headers = { [HEADERS.hotkey]: hotkey, [HEADERS.signature]: signature };
  if (word.form === 'reply') {
    const reply = { status: word.status, body: { sha256 }, nonce, recipient, headers, expectedHotkey: hotkey };
    return faultOf(checkClaimNow(readSignedReply(reply)));
  }
  const { method, path, timestamp } = word;
  const more = { [HEADERS.nonce]: nonce, [HEADERS.recipient]: recipient, [HEADERS.timestamp]: timestamp };
  // It was fresh when it came; that it is old now is what a receipt is for.
  const nowMs = Number(timestamp);
  return faultOf(
    checkClaimNow(
      readSignedRequest({ method, path, body: { sha256 }, nowMs, recipient, headers: { ...headers, ...more } }),
    ),
  );
}

function faultOf(verdict: { ok: true } | { ok: false; message: string }): string | undefined {
  return verdict.ok ? undefined : verdict.message;
}
