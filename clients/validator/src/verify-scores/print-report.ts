import { checksText, isPartial } from '../verify-draws/print-report';
import { CHECKS } from './checks';
import type { ProofReport } from './proof';
import type { ExportReport } from './verify-export';

export function reportText(report: ExportReport): string {
  const { kind, name, from_seq: from, to_seq: to, lines, root, signer, ok, checks, seconds } = report;
  const verdict = ok ? 'verifies' : 'does NOT verify';
  const limits = ok && isPartial(checks) ? ', as far as it was checked' : '';
  return [
    checksText(checks, CHECKS),
    `events ${from} to ${to}, ${lines} lines, root ${root}, signed by ${signer}`,
    `the export of ${kind} ${name} ${verdict}${limits} (${seconds} s)`,
  ].join('\n');
}

export function proofText({ ok, problems, proof }: ProofReport): string {
  const { head, leaf, leaf_index: index } = proof;
  const what = `leaf ${index} of ${head.lines} of the export of ${head.kind} ${head.name}`;
  return [...problems, leaf, ok ? `is ${what}, signed by ${head.signer}` : `is NOT proven to be ${what}`].join('\n');
}
