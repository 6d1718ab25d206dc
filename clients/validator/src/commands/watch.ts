import { join } from 'node:path';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { Cursor } from '../cursor';
import type { RegistryClient } from '../registry-client';
import type { ScoreSources } from '../score-stream';
import { scoreRows, scoreTable, type TableInput } from '../score-table';
import { watch as watchLog } from '../validator';
import type { CommonOptions } from './options';
import { print, say } from './say';
import { following } from './sources';

export interface WatchOptions extends CommonOptions {
  json: boolean;
}

/** More often nobody can read it; thousands of events a second are one picture. */
const REDRAW_MS = 250;
/** Lines of the screen that the table's frame and the heading take. */
const FRAME_LINES = 7;
const DEFAULT_LINES = 40;

const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const CLEAR_SCREEN = '\u001b[2J';

/** Every event as a line of JSON; on a terminal a table of the open epoch that follows them. */
export async function watch(options: WatchOptions): Promise<void> {
  // A cursor of its own: `run` must not pass over a snapshot that only `watch` has seen.
  const cursor = await Cursor.open(join(options.stateDir, 'watch'), say);
  await following(options, cursor, (sources) => {
    if (options.json || !process.stdout.isTTY)
      return watchLog(cursor, sources, (event) => print(JSON.stringify(event)));
    return liveTable(cursor, sources);
  });
}

async function liveTable(cursor: Cursor, sources: ScoreSources): Promise<void> {
  const screen = new Screen(cursor, sources);
  process.stdout.write(CLEAR_SCREEN);
  const drawing = setInterval(() => screen.draw(), REDRAW_MS);
  try {
    await screen.refresh();
    await watchLog(cursor, { ...sources, say: (text) => screen.remark(text) }, (event) => screen.onEvent(event));
  } finally {
    clearInterval(drawing);
    screen.draw();
  }
}

class Screen {
  private readonly lastEvents = new Map<string, ScoreEvent>();
  private closed = new Map<string, number>();
  private facts: Pick<TableInput, 'epoch' | 'policy' | 'metagraph'> | undefined;
  private said = '';
  private stale = true;

  constructor(
    private readonly cursor: Cursor,
    private readonly sources: ScoreSources,
  ) {}

  remark(text: string): void {
    this.said = text;
    this.stale = true;
  }

  async onEvent(event: ScoreEvent): Promise<void> {
    this.stale = true;
    if (event.hotkey !== undefined) this.lastEvents.set(event.hotkey, event);
    if (event.type === 'snapshot') await this.refresh();
  }

  /** What the log does not say: the open epoch, its policy, who is a member. For showing only; `run` trusts none of it. */
  async refresh(): Promise<void> {
    this.stale = true;
    try {
      const { registry } = this.sources;
      const [board, policy] = await Promise.all([registry.board(), registry.policy()]);
      if (board && policy) this.facts = { epoch: board.epoch, policy, metagraph: board.metagraph };
      this.closed = await closedWeights(registry);
    } catch (error) {
      this.said = (error as Error).message;
    }
  }

  draw(): void {
    if (!this.stale) return;
    this.stale = false;
    const { copy } = this.cursor;
    const lines = [this.heading(), ''];
    if (this.facts) {
      const rows = scoreRows({ ...this.facts, copy, closed: this.closed, lastEvents: this.lastEvents });
      lines.push(scoreTable(rows, Math.max(1, (process.stdout.rows || DEFAULT_LINES) - FRAME_LINES)));
    }
    lines.push(this.said);
    const text = lines.join('\n').replaceAll('\n', `${CLEAR_LINE}\n`);
    process.stdout.write(`${HOME}${text}${CLEAR_LINE}${CLEAR_BELOW}`);
  }

  private heading(): string {
    const { seq } = this.cursor.copy;
    if (!this.facts) return `event ${seq}; no epoch is open yet`;
    return `epoch ${this.facts.epoch} so far, event ${seq}; "change" is against the last closed epoch. Ctrl-C ends`;
  }
}

async function closedWeights(registry: RegistryClient): Promise<Map<string, number>> {
  const body = await registry.snapshot('latest');
  const { miners } = JSON.parse(body ?? '{"miners":[]}') as { miners: { hotkey: string; u16: number }[] };
  return new Map(miners.map(({ hotkey, u16 }) => [hotkey, u16]));
}
