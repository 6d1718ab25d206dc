/**
 * The validator's own sums of the log, kept per epoch of the award, so that any window can be added up. A snapshot event
 * with number s covers the entries below s: at that moment these sums are exactly those that the snapshot must show.
 */
import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { JobKind } from '@studio/shared/domain/job';
import {
  firstEpoch,
  validStep,
  type LedgerEntryType,
  type MinerScore,
  type Window,
} from '@studio/shared/domain/score-window';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';

/** The log broke its own rules: a gap, or an event that is none. Going on would make the sums worthless. */
export class BrokenLog extends Error {
  constructor(message: string) {
    super(`${message}: the registry's log cannot be relied on`);
    this.name = 'BrokenLog';
  }
}

/** `[points, valid jobs]` by kind, by hotkey, by epoch; points in decimal, so that JSON keeps every digit. */
export interface CopyState {
  seq: number;
  epochs: Record<string, Record<string, Partial<Record<JobKind, [points: string, valid: number]>>>>;
}

interface Sum {
  points: bigint;
  valid: number;
}

export class LedgerCopy {
  /** Number of the last event that is in the sums. */
  seq = 0;
  private readonly epochs = new Map<number, Map<string, Map<JobKind, Sum>>>();

  static from({ seq, epochs }: CopyState): LedgerCopy {
    const copy = new LedgerCopy();
    copy.seq = seq;
    for (const [epoch, hotkeys] of Object.entries(epochs)) {
      for (const [hotkey, kinds] of Object.entries(hotkeys)) {
        for (const [kind, [points, valid]] of Object.entries(kinds)) {
          copy.add(Number(epoch), hotkey, kind as JobKind, { points: BigInt(points), valid });
        }
      }
    }
    return copy;
  }

  toState(): CopyState {
    const epochs: CopyState['epochs'] = {};
    for (const [epoch, hotkeys] of this.epochs) {
      const ofEpoch = (epochs[epoch] ??= {});
      for (const [hotkey, kinds] of hotkeys) {
        const ofHotkey = (ofEpoch[hotkey] ??= {});
        for (const [kind, { points, valid }] of kinds) ofHotkey[kind] = [points.toString(), valid];
      }
    }
    return { seq: this.seq, epochs };
  }

  /** @throws BrokenLog when the event is not the next one, or makes no sense. The sums are unchanged then. */
  apply(event: ScoreEvent): void {
    if (event.seq !== this.seq + 1) throw new BrokenLog(`event ${event.seq} came after event ${this.seq}`);
    if (event.type !== 'snapshot') {
      const { hotkey, kind, points, valid } = readEntry(event);
      this.add(event.epoch, hotkey, kind, { points, valid });
    }
    this.seq = event.seq;
  }

  /** The scored miners of a window, in hotkey order: those with at least one valid job in it. */
  scores(window: Window): Map<string, MinerScore> {
    const first = firstEpoch(window);
    const scores = new Map<string, MinerScore>();
    for (const [epoch, hotkeys] of this.epochs) {
      if (epoch < first || epoch > window.epoch) continue;
      for (const [hotkey, kinds] of hotkeys) {
        const score = scores.get(hotkey) ?? { points: 0n, pointsByKind: {}, validJobs: 0 };
        scores.set(hotkey, score);
        for (const [kind, { points, valid }] of kinds) {
          score.points += points;
          score.pointsByKind[kind] = (score.pointsByKind[kind] ?? 0n) + points;
          score.validJobs += valid;
        }
      }
    }
    const scored = [...scores].filter(([, { validJobs }]) => validJobs > 0);
    return new Map(scored.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  private add(epoch: number, hotkey: string, kind: JobKind, { points, valid }: Sum): void {
    const hotkeys = this.epochs.get(epoch) ?? new Map<string, Map<JobKind, Sum>>();
    const kinds = hotkeys.get(hotkey) ?? new Map<JobKind, Sum>();
    const sum = kinds.get(kind) ?? { points: 0n, valid: 0 };
    kinds.set(kind, { points: sum.points + points, valid: sum.valid + valid });
    this.epochs.set(epoch, hotkeys.set(hotkey, kinds));
  }
}

/** How each type writes its points: what is given has no sign, what is taken has one. */
const POINTS: Record<LedgerEntryType, RegExp> = {
  award: /^\d{1,18}$/,
  reversal: /^(0|-\d{1,18})$/,
  restoration: /^\d{1,18}$/,
};

function readEntry(event: ScoreEvent): { hotkey: string; kind: JobKind } & Sum {
  const { seq, type, epoch, hotkey, kind, points } = event;
  const sound = Number.isSafeInteger(epoch) && typeof hotkey === 'string' && JOB_KINDS.includes(kind as JobKind);
  if (!sound || !isEntryType(type) || !POINTS[type].test(String(points))) {
    throw new BrokenLog(`event ${seq} is no award, reversal, restoration or snapshot`);
  }
  return { hotkey, kind: kind as JobKind, points: BigInt(String(points)), valid: validStep(type) };
}

/** The log comes from elsewhere: its types are whatever it says. */
function isEntryType(type: string): type is LedgerEntryType {
  return Object.hasOwn(POINTS, type);
}
