import { MultiBar, Presets, type SingleBar } from 'cli-progress';

/** Bars on a terminal, a line every few seconds elsewhere; always on stderr, so that stdout stays for results. */
const LINE_EVERY_MS = 5_000;
const LABEL_WIDTH = 34;

export class Progress {
  private readonly bars = new MultiBar(
    {
      stream: process.stderr,
      format: '{label} {bar} {value}/{total}',
      hideCursor: true,
      noTTYOutput: true,
      notTTYSchedule: LINE_EVERY_MS,
      clearOnComplete: false,
    },
    Presets.shades_classic,
  );

  bar(label: string, total: number): SingleBar {
    return this.bars.create(total, 0, { label: label.padEnd(LABEL_WIDTH) });
  }

  /** A line above the bars. */
  say(line: string): void {
    this.bars.log(`${line}\n`);
  }

  stop(): void {
    this.bars.stop();
  }
}
