import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const NAME = /^[0-9a-z][0-9a-z.-]{0,127}$/;

/**
 * Named byte strings in one folder. A write appears whole or not at all (temporary file, then rename), so that a miner
 * killed at any instruction finds only complete files when it comes back.
 */
export class ByteStore {
  constructor(private readonly folder: string) {}

  async read(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(this.path(name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Readable by this user only: accepted jobs hold callback secrets. */
  async write(name: string, bytes: Uint8Array | string): Promise<void> {
    const path = this.path(name);
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const draft = `${path}.${randomUUID()}.tmp`;
    await writeFile(draft, bytes, { mode: 0o600 });
    await rename(draft, path);
  }

  async remove(name: string): Promise<void> {
    await rm(this.path(name), { force: true });
  }

  /** Complete files, in no order. */
  async names(): Promise<string[]> {
    const files = await readdir(this.folder).catch((error: unknown) =>
      isMissing(error) ? [] : Promise.reject(error as Error),
    );
    return files.filter((file) => !file.endsWith('.tmp'));
  }

  /** Removes what was last written before `ms` (Unix time), drafts of a killed process included. */
  async removeOlderThan(ms: number): Promise<void> {
    const files = await readdir(this.folder).catch(() => []);
    for (const file of files) {
      const path = join(this.folder, file);
      const facts = await stat(path).catch(() => undefined);
      if (facts && facts.mtimeMs < ms) await rm(path, { force: true });
    }
  }

  private path(name: string): string {
    // Names can come from outside (hashes, job ids): nothing that could leave the folder.
    if (!NAME.test(name)) throw new RangeError(`not a name of a stored file: ${JSON.stringify(name)}`);
    return join(this.folder, name);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
