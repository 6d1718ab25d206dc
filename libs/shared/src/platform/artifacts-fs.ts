import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArtifactRef } from '../domain/job';
import { StudioError } from '../domain/errors';
import { ArtifactCorruptError, isArtifactName, type ArtifactStore, type PutOptions } from './artifacts';

/**
 * Artifacts in a directory: `{root}/ab/cd/abcd…`. Two levels of 256 keep directories small up to millions of files.
 * Incoming bytes go to `{root}/incoming`, on the same file system, where a rename is atomic.
 */
export class FileArtifactStore implements ArtifactStore {
  private readonly incoming: string;

  constructor(private readonly root: string) {
    this.incoming = join(root, 'incoming');
  }

  async put(source: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<ArtifactRef> {
    await mkdir(this.incoming, { recursive: true });
    const temporary = join(this.incoming, randomUUID());
    try {
      const { sha256, bytes } = await writeDurably(temporary, source, options.maxBytes);
      if (!(await this.has(sha256))) await this.publish(temporary, sha256);
      return { sha256, bytes, contentType: options.contentType };
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async read(sha256: string, { verify = true }: { verify?: boolean } = {}): Promise<Buffer | null> {
    if (!isArtifactName(sha256)) return null;
    const bytes = await orNull(readFile(this.pathOf(sha256)));
    if (bytes && verify && createHash('sha256').update(bytes).digest('hex') !== sha256)
      throw new ArtifactCorruptError(sha256);
    return bytes;
  }

  async stream(sha256: string): ReturnType<ArtifactStore['stream']> {
    if (!isArtifactName(sha256)) return null;
    const file = await orNull(open(this.pathOf(sha256)));
    if (!file) return null;
    try {
      return { bytes: (await file.stat()).size, body: file.createReadStream() };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async has(sha256: string): Promise<boolean> {
    return isArtifactName(sha256) && (await orNull(stat(this.pathOf(sha256)))) !== null;
  }

  private pathOf(sha256: string): string {
    return join(this.root, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  }

  private async publish(temporary: string, sha256: string): Promise<void> {
    const path = this.pathOf(sha256);
    const made = await mkdir(dirname(path), { recursive: true });
    await rename(temporary, path);
    // The name itself survives a power loss only when its directory, and every directory just made, is synced.
    await syncDirectory(dirname(path));
    if (made) await Promise.all([syncDirectory(dirname(dirname(path))), syncDirectory(this.root)]);
  }
}

/** @throws StudioError BODY_TOO_LARGE as soon as the cap is passed, before the excess is written. */
async function writeDurably(
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
      if (bytes > maxBytes)
        throw new StudioError('BODY_TOO_LARGE', `the artifact is larger than ${maxBytes} bytes: send a smaller one`);
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

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
