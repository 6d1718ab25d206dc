import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { StudioError } from '../domain/errors';

/**
 * Bytes whose name, their hash, is known only at their end: they go to a file first.
 * @throws StudioError BODY_TOO_LARGE as soon as the cap is passed, before the excess is written.
 */
export async function writeDurably(
  path: string,
  source: Uint8Array | AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'wx', 0o640);
  try {
    for await (const chunk of source instanceof Uint8Array ? [source] : source) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      hash.update(chunk);
      await writeAll(file, chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** One write may store less than it was given. */
async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let offset = 0;
  while (offset < chunk.byteLength) offset += (await file.write(chunk, offset)).bytesWritten;
}

export function tooLarge(maxBytes: number): StudioError {
  return new StudioError('BODY_TOO_LARGE', `the artifact is larger than ${maxBytes} bytes: send a smaller one`);
}
