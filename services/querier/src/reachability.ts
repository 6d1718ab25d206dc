/**
 * Which operators could be reached lately, as this worker's own requests have shown: what tells a miner that is away
 * from us being cut off (domain/blame.ts). Callers: JobRun says how each request went and asks when one has failed.
 */
import type { Witness } from '@studio/shared/domain/blame';

/** What was seen longer ago says nothing about now: three connect timeouts, so that a slow failure still meets others. */
const WINDOW_MS = 10_000;

/** More operators than a subnet has places for; only a fault of ours could ask so many within the window. */
const MAX_OPERATORS = 4_096;

interface Sight {
  reached: boolean;
  atMs: number;
}

export class Reachability {
  /** The last sight of each operator, the oldest first. */
  private readonly sights = new Map<string, Sight>();

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Any reply at all, a refusal included: the way there and back works. */
  answered(operator: string): void {
    this.see(operator, true);
  }

  /** The connection could not be made, or broke. */
  failed(operator: string): void {
    this.see(operator, false);
  }

  /**
   * The other operators, each by what was seen last: an answer from before its failure says nothing about the time of
   * the failure. Otherwise everybody's last answers would speak against everybody in our own first seconds offline.
   */
  witness(operator: string, nowMs: number = this.now()): Witness {
    const witness = { reached: 0, unreachable: 0 };
    for (const [other, { reached, atMs }] of this.sights) {
      if (other === operator || atMs < nowMs - WINDOW_MS) continue;
      if (reached) witness.reached += 1;
      else witness.unreachable += 1;
    }
    return witness;
  }

  private see(operator: string, reached: boolean): void {
    const atMs = this.now();
    // Taken out first: it goes to the end, and the oldest stay in front.
    this.sights.delete(operator);
    this.sights.set(operator, { reached, atMs });
    for (const [oldest, sight] of this.sights) {
      if (sight.atMs >= atMs - WINDOW_MS && this.sights.size <= MAX_OPERATORS) return;
      this.sights.delete(oldest);
    }
  }
}
