/** Every check by its name, in the order of the report. */
import { Findings as AnyFindings } from '../verify-draws/findings';

export const CHECKS = {
  form: 'every line is canonical JSON (RFC 8785), and in its place',
  root: 'the Merkle root over the lines is the one of the signed head',
  signature: 'the head is signed by the hotkey that it names',
  chain: 'the head goes on from the one before it',
  log: 'the events are numbered without a gap, and are all that the export has to hold',
  points: "the points of each of the epoch's awards follow from latency, T_max, kind and policy",
  draws: 'every draw of the epoch is decided again to the same, and every award has its draw',
  snapshot: 'sums of the window, win rates, shares and u16 weights give the snapshot, to the byte',
} as const;

export type CheckName = keyof typeof CHECKS;

export class Findings extends AnyFindings<CheckName> {
  constructor() {
    super(CHECKS);
  }
}
