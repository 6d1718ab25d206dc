/** The signed head of an export: over these lines, by this hotkey, after that head. */
import { NO_PREVIOUS, type ExportHead, type ExportHeader, type SignedHead } from '@studio/shared/contract/exports';
import { headHash, isSignedHead } from '@studio/shared/protocol/merkle-head';
import type { Findings } from './checks';

export interface Expected {
  /** Hotkey that has to have signed. */
  registryKey?: string;
  /** The head before it. */
  previous?: SignedHead;
}

export function checkSignature({ head, signature }: SignedHead, { registryKey }: Expected, findings: Findings): void {
  findings.look(
    'signature',
    !isSignedHead(head, signature) && `signature is not one of ${head.signer} over this head`,
    registryKey !== undefined && head.signer !== registryKey && `signer is ${head.signer}, not ${registryKey}`,
  );
  findings.note(
    'signature',
    registryKey === undefined ? `by ${head.signer}; compare it, or give --registry-key` : `by ${head.signer}, as given`,
  );
}

export function checkHeader(head: ExportHead, header: ExportHeader, findings: Findings): void {
  const fields = ['format', 'kind', 'name', 'from_seq', 'to_seq'] as const;
  findings.look(
    'root',
    ...fields.map((name) => head[name] !== header[name] && `${name} is ${head[name]}, in the header ${header[name]}`),
  );
}

export function checkChain(head: ExportHead, { previous }: Expected, findings: Findings): void {
  if (previous === undefined && head.previous === NO_PREVIOUS) {
    const isFirst = head.kind === 'epoch' ? head.name === '1' : head.from_seq === 1;
    findings.look('chain', !isFirst && `previous is ${NO_PREVIOUS}, as if there were none before ${head.name}`);
    return;
  }
  if (previous === undefined) {
    findings.skip('chain', `no head before it was given: --previous, whose hash is ${head.previous}`);
    return;
  }
  const before = previous.head;
  findings.look(
    'chain',
    head.previous !== headHash(before) &&
      `previous is ${head.previous}, the head given has the hash ${headHash(before)}`,
    head.kind !== before.kind && `kind is ${head.kind}, the head before it is of ${before.kind}`,
    head.kind === 'hour' &&
      head.from_seq !== before.to_seq + 1 &&
      `from_seq is ${head.from_seq}, the head before it ends at ${before.to_seq}`,
    !isSignedHead(before, previous.signature) && 'the head before it is not signed by its signer',
  );
}
