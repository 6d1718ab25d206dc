/**
 * Keeps the shared holds and Postgres together: frees the slots of attempts that ended while nobody could say so (their
 * worker died in between), adds the holds of attempts that the lane does not know, and writes down what miners have
 * proven. A difference counts when it is seen twice: between a reservation and its row, and between an end and its
 * settling, there is always a moment in which the two disagree.
 */
import { TASK_KINDS } from '@studio/shared/domain/task-kinds';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { isRest, type HoldName, type LaneStore, type TimedHold } from './lane-store';
import type { TurnBoard } from './turn-board';
import type { ProvenRow, TurnStore } from './turn.store';
import type { Lane } from './turns';

/** Long beside the moment between a reservation and its row, short beside a job. */
const SWEEP_MS = 5_000;

export interface HoldSweeperParts {
  board: Pick<TurnBoard, 'proven'>;
  store: LaneStore;
  rows: Pick<TurnStore, 'openHolds' | 'saveProven'>;
  log: Pick<Logger, 'error'>;
  clock?: () => number;
}

export class HoldSweeper {
  private readonly sweeper: Sweeper;
  private readonly clock: () => number;
  /** Differences that the last sweep saw. */
  private suspects = new Set<string>();
  private readonly saved = new Map<string, number>();

  constructor(private readonly parts: HoldSweeperParts) {
    this.clock = parts.clock ?? (() => Date.now());
    const { log } = parts;
    this.sweeper = new Sweeper({ name: 'holds', everyMs: SWEEP_MS, run: () => this.sweep(), log });
  }

  start(): void {
    this.sweeper.start();
  }

  stop(): Promise<void> {
    return this.sweeper.stop();
  }

  async sweep(): Promise<void> {
    const seen = new Set<string>();
    for (const lane of TASK_KINDS) await this.compare(lane, seen);
    this.suspects = seen;
    await this.saveProven();
  }

  private async compare({ kind, engine }: Lane, seen: Set<string>): Promise<void> {
    const { store, rows } = this.parts;
    const lane = `${kind}|${engine}`;
    const nowMs = this.clock();
    const open = new Map((await rows.openHolds({ kind, engine }, nowMs)).map((hold) => [nameOf(hold), hold]));
    const holds = (await store.holds(lane, nowMs)).filter((hold) => !isRest(hold));
    const held = new Map(holds.map((hold) => [nameOf(hold), hold]));
    const twice = (sign: string): boolean => {
      seen.add(sign);
      return this.suspects.has(sign);
    };
    const dead = difference(held, open).filter((hold) => twice(`dead ${lane} ${nameOf(hold)}`));
    const missing = difference<TimedHold>(open, held).filter((hold) => twice(`missing ${lane} ${nameOf(hold)}`));
    for (const hold of dead) await store.release(lane, hold, nowMs);
    await store.restore(lane, missing, nowMs);
  }

  private async saveProven(): Promise<void> {
    const changed: ProvenRow[] = TASK_KINDS.flatMap(({ kind, engine }) =>
      this.parts.board.proven({ kind, engine }).map((row) => ({ ...row, kind, engine })),
    ).filter((row) => this.saved.get(savedKey(row)) !== row.proven);
    await this.parts.rows.saveProven(changed);
    for (const row of changed) this.saved.set(savedKey(row), row.proven);
  }
}

function nameOf({ hotkey, name }: HoldName): string {
  return `${hotkey}|${name}`;
}

function savedKey({ kind, engine, hotkey }: ProvenRow): string {
  return `${kind}|${engine}|${hotkey}`;
}

function difference<T extends HoldName>(of: ReadonlyMap<string, T>, without: ReadonlyMap<string, unknown>): T[] {
  return [...of].filter(([name]) => !without.has(name)).map(([, hold]) => hold);
}
