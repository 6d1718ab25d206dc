/** The lines of an export, from a file or a URL, compressed or not, read once. */
import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { bodyOf } from '../verify-draws/export-reader';
import { Unreadable } from '../verify-draws/unreadable';

/** RFC 1952. */
const GZIP_MAGIC = [0x1f, 0x8b];

/** A snapshot of a hundred thousand miners has some 30 MB; the rest is room, not an invitation. */
const LONGEST_LINE = 256 * 1_024 * 1_024;

export const isUrl = (from: string): boolean => /^https?:\/\//.test(from);

/** @throws Unreadable that names the line after which it ends. */
export async function* exportLines(from: string): AsyncGenerator<string> {
  const bytes = isUrl(from) ? bodyOf(from, 'it is no export of a registry') : createReadStream(from);
  let count = 0;
  try {
    for await (const line of linesOf(unpacked(bytes))) {
      count += 1;
      yield line;
    }
  } catch (error) {
    throw unreadable(from, count, error);
  }
}

async function* unpacked(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks = bytes[Symbol.asyncIterator]();
  try {
    let start = Buffer.alloc(0);
    while (start.length < GZIP_MAGIC.length) {
      const next = await chunks.next();
      if (next.done) break;
      start = Buffer.concat([start, next.value]);
    }
    const all = rejoined(start, chunks);
    if (!GZIP_MAGIC.every((byte, index) => start[index] === byte)) {
      yield* all;
      return;
    }
    const gunzip = createGunzip();
    // The error reaches whoever reads from it.
    pipeline(Readable.from(all), gunzip, () => undefined);
    yield* gunzip as AsyncIterable<Uint8Array>;
  } finally {
    await chunks.return?.();
  }
}

async function* rejoined(start: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (start.length > 0) yield start;
  for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
}

async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  // What is no UTF-8 would otherwise be read as something else, whose hash might be right.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_LINE) throw new RangeError(`a line is longer than ${LONGEST_LINE} characters`);
    yield* lines;
  }
  if (rest + decoder.decode() !== '') throw new RangeError('the last line has no end');
}

function unreadable(from: string, count: number, error: unknown): Unreadable {
  if (error instanceof Unreadable) return error;
  const { message, code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new Unreadable(`there is no file ${from}: give the path or the URL of an export`);
  return new Unreadable(`${from} cannot be read after line ${count} (${message}): fetch it again from the registry`, {
    cause: error,
  });
}
