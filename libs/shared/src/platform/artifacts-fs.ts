import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ArtifactRef } from '../domain/job';
import { ArtifactCorruptError, isArtifactName, type ArtifactStore, type PutOptions } from './artifacts';
import { writeDurably } from './artifact-spool';

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
      if (!(await this.renew(sha256))) await this.publish(temporary, sha256);
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

  /** Whoever reads a directory reads it through us. */
  async link(): Promise<null> {
    return null;
  }

  async *list(prefix: string): AsyncGenerator<string> {
    for (const first of await names(this.root, prefix.slice(0, 2))) {
      for (const second of await names(join(this.root, first), prefix.slice(2, 4))) {
        const files = await names(join(this.root, first, second), prefix);
        yield* files.filter(isArtifactName);
      }
    }
  }

  /** It is looked at where no put can find it any more: one that came before has renewed it, a later one writes it again. */
  async remove(sha256: string, before: Date): Promise<boolean> {
    if (!isArtifactName(sha256)) return false;
    const [path, aside] = [this.pathOf(sha256), join(this.incoming, randomUUID())];
    const found = await orNull(stat(path));
    if (!found || found.mtime >= before) return false;
    await mkdir(this.incoming, { recursive: true });
    if ((await orNull(rename(path, aside).then(() => true))) === null) return false;
    const old = (await stat(aside)).mtime < before;
    if (old) await rm(aside);
    else await rename(aside, path);
    return old;
  }

  async check(): Promise<void> {
    try {
      await mkdir(this.root, { recursive: true });
      await readdir(this.root);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new Error(
        `ARTIFACTS_DIR: ${this.root} cannot be read (${code}): name a directory that this process may use`,
        {
          cause: error,
        },
      );
    }
  }

  private pathOf(sha256: string): string {
    return join(this.root, sha256.slice(0, 2), sha256.slice(2, 4), sha256);
  }

  /** @returns false when it is not here. */
  private async renew(sha256: string): Promise<boolean> {
    const now = new Date();
    return (await orNull(utimes(this.pathOf(sha256), now, now).then(() => true))) ?? false;
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

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** In this directory; none where there is no directory. */
async function names(directory: string, prefix: string): Promise<string[]> {
  const found = (await orNull(readdir(directory))) ?? [];
  return found.filter((name) => /^[0-9a-f]+$/.test(name) && name.startsWith(prefix));
}

async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
