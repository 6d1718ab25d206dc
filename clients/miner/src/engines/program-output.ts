import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** A longer line is no line for us: its beginning is read and the rest is dropped. */
const MAX_LINE = 4 * 1024;
/** Of the last line of stderr, what fits into a message. */
const MAX_LAST_LINE = 500;
/** Colours and cursor moves: progress bars are full of them. */
const ANSI = /\u001b\[[0-9;?]*[A-Za-z]/g;

/** The end of what a program has said; what came before is forgotten. */
export class OutputTail {
  private kept = Buffer.alloc(0);

  constructor(private readonly maxBytes: number) {}

  add(bytes: Buffer): void {
    this.kept = Buffer.concat([this.kept, bytes.subarray(-this.maxBytes)]).subarray(-this.maxBytes);
  }

  text(): string {
    return this.kept.toString('utf8').replace(ANSI, '');
  }

  /** The last line with anything on it; a progress bar rewrites its line, so that each version counts as one. */
  lastLine(): string {
    const lines = this.text().split(/[\r\n]+/);
    return (lines.findLast((line) => line.trim() !== '') ?? '').trim().slice(0, MAX_LAST_LINE);
  }
}

/** Calls `onLine` for each line of a stream, without its end. */
export function readLines(stream: Readable, onLine: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let open = '';
  stream.on('data', (bytes: Buffer) => {
    const lines = (open + decoder.write(bytes)).split(/[\r\n]/);
    open = lines.pop()!.slice(0, MAX_LINE);
    for (const line of lines) if (line !== '') onLine(line.slice(0, MAX_LINE));
  });
}
