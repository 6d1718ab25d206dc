import { createHash, randomUUID } from 'node:crypto';
import { readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

/** A LoRA where the image server finds it. */
export interface PlacedLora {
  /** The SHA-256 of its bytes: the file's name without its ending. */
  sha256: string;
  file: string;
  /** Another number when the file was away in between: a server may have noticed that. */
  edition: number;
}

const ENDING = '.safetensors';
const OURS = /^[0-9a-f]{64}\.safetensors$/;
/** Hashing that much takes some milliseconds; between two pieces the miner answers others. */
const HASHED_AT_ONCE = 8 * 1024 * 1024;

/**
 * The image server's LoRA folder, as far as jobs fill it. A LoRA is written once, whole or not at all (temporary name,
 * then rename), and found again by its hash. When the files take more room than they may, those that were not used for
 * the longest time go, but never one that a drawing needs. Files that are not named by a SHA-256 are the operator's: they
 * are neither counted nor touched.
 */
export class LoraFolder {
  private readonly users = new Map<string, number>();
  private readonly writes = new Map<string, Promise<void>>();
  private readonly editions = new Map<string, number>();

  constructor(
    private readonly folder: string,
    private readonly maxBytes: number,
  ) {}

  /** Runs `act` with the LoRA in place. */
  async use<T>(bytes: Uint8Array, act: (lora: PlacedLora) => Promise<T>): Promise<T> {
    const sha256 = await hash(bytes);
    this.users.set(sha256, (this.users.get(sha256) ?? 0) + 1);
    try {
      await this.place(sha256, bytes);
      return await act({ sha256, file: sha256 + ENDING, edition: this.editions.get(sha256) ?? 0 });
    } finally {
      const left = this.users.get(sha256)! - 1;
      if (left > 0) this.users.set(sha256, left);
      else this.users.delete(sha256);
    }
  }

  /** Two jobs with the same LoRA share one write. */
  private place(sha256: string, bytes: Uint8Array): Promise<void> {
    const running = this.writes.get(sha256);
    if (running) return running;
    const write = this.writeOnce(sha256, bytes).finally(() => this.writes.delete(sha256));
    this.writes.set(sha256, write);
    return write;
  }

  private async writeOnce(sha256: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.folder, sha256 + ENDING);
    const kept = await stat(path).catch(() => undefined);
    const now = new Date();
    if (kept?.size === bytes.byteLength) return utimes(path, now, now);
    // No ending that a server would list.
    const draft = join(this.folder, `.${sha256}.${randomUUID()}.tmp`);
    try {
      await writeFile(draft, bytes);
      await rename(draft, path);
      this.editions.set(sha256, (this.editions.get(sha256) ?? 0) + 1);
    } catch (error) {
      await rm(draft, { force: true });
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`the LoRA cannot be put into MINER_HTTP_LORA_DIR: ${why}`, { cause: error });
    }
    await this.makeRoom();
  }

  private async makeRoom(): Promise<void> {
    const names = (await readdir(this.folder)).filter((name) => OURS.test(name));
    const found = await Promise.all(
      names.map(async (name) => {
        const facts = await stat(join(this.folder, name)).catch(() => undefined);
        return facts ? [{ name, bytes: facts.size, usedMs: facts.mtimeMs }] : [];
      }),
    );
    const files = found.flat().sort((a, b) => a.usedMs - b.usedMs);
    let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { name, bytes } of files) {
      if (total <= this.maxBytes) return;
      if (this.users.has(name.slice(0, -ENDING.length))) continue;
      await rm(join(this.folder, name), { force: true });
      total -= bytes;
    }
  }
}

async function hash(bytes: Uint8Array): Promise<string> {
  const sum = createHash('sha256');
  for (let at = 0; at < bytes.length; at += HASHED_AT_ONCE) {
    if (at > 0) await turn();
    sum.update(bytes.subarray(at, at + HASHED_AT_ONCE));
  }
  return sum.digest('hex');
}
