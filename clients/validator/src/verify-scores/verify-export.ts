/** One export, verified from its own lines. */
import type { ExportKind, InclusionProof } from '@studio/shared/contract/exports';
import type { Check } from '../verify-draws/findings';
import { Unreadable } from '../verify-draws/unreadable';
import type { CheckName } from './checks';
import { exportLines } from './export-source';
import { ExportVerifier } from './export-verifier';
import type { Expected } from './head-check';
import { ProofMaker } from './proof';

export interface ExportReport {
  kind: ExportKind;
  name: string;
  from_seq: number;
  to_seq: number;
  lines: number;
  root: string;
  signer: string;
  /** Nothing that was checked is wrong. What was not checked says so itself. */
  ok: boolean;
  seconds: number;
  checks: Check<CheckName>[];
}

export interface Verified {
  report: ExportReport;
  proof?: InclusionProof;
}

/**
 * @param from path or URL.
 * @param proofOf number of an event to prove.
 * @throws Unreadable
 */
export async function verifyExport(from: string, expected: Expected = {}, proofOf?: number): Promise<Verified> {
  const startedAt = performance.now();
  const verifier = new ExportVerifier(from, expected);
  const maker = proofOf === undefined ? undefined : new ProofMaker(proofOf);
  for await (const text of exportLines(from)) {
    const line = verifier.add(text);
    if (!('head' in line)) maker?.add(line, text);
  }
  const checks = verifier.end().list();
  const head = verifier.signed?.head;
  if (!verifier.signed || !head) throw new Unreadable(`${from} has no signed head`);
  const report = {
    kind: head.kind,
    name: head.name,
    from_seq: head.from_seq,
    to_seq: head.to_seq,
    lines: verifier.tree.size,
    root: verifier.tree.root().toString('hex'),
    signer: head.signer,
    ok: checks.every(({ failures }) => failures === 0),
    seconds: Math.round(performance.now() - startedAt) / 1_000,
    checks,
  };
  return { report, proof: maker?.proof(verifier.tree, verifier.signed) };
}
