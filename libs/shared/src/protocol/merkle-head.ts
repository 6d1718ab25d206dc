/** What the registry signs of an export: its head, which holds the Merkle root of its lines. */
import { canonicalJson, sha256Hex } from './canonical';
import { signText, verifyText, type Hotkey } from './hotkey';

/** Begins the signed text and no other text that a hotkey of ours signs: a signature is good for nothing else. */
const DOMAIN = 'studio-export-head-v1';

/** What every head names: who says to have signed it. */
interface Head {
  /** SS58. */
  signer: string;
}

/** The exact text that is signed, as UTF-8. */
export function headMessage(head: Head): string {
  return `${DOMAIN}|${canonicalJson(head)}`;
}

/** SHA-256 (hex) of the head's canonical text: the next head of its kind names it, so that all of them are one chain. */
export function headHash(head: Head): string {
  return sha256Hex(canonicalJson(head));
}

export function signHead(head: Head, key: Hotkey): string {
  return signText(key, headMessage(head));
}

export function isSignedHead(head: Head, signature: string): boolean {
  return verifyText(head.signer, headMessage(head), signature);
}
