import { createHash } from 'node:crypto';
import type { InputFile } from '@studio/shared/contract/miner-job';
import { request } from 'undici';
import type { ByteStore } from './byte-store';

/** The orchestrator's own limit for a LoRA; images are far smaller (security.md). */
const MAX_INPUT_BYTES = 512 * 1024 * 1024;

/**
 * Input files, fetched once and kept by their hash: a LoRA that is asked for again costs no transfer. Two jobs that
 * need the same file at the same time share one download.
 */
export class Inputs {
  private readonly downloads = new Map<string, Promise<Buffer>>();

  constructor(private readonly cache: ByteStore) {}

  /** The file's bytes, proven to be those that were asked for. @throws Error naming what is wrong. */
  async load(file: InputFile, signal: AbortSignal): Promise<Buffer> {
    const kept = await this.cache.read(file.sha256);
    if (kept) return kept;
    const running = this.downloads.get(file.sha256);
    // The other job may be cancelled, its URL may have expired: then fetch with our own.
    if (running) return running.catch(() => this.download(file, signal));
    const download = this.download(file, signal).finally(() => this.downloads.delete(file.sha256));
    this.downloads.set(file.sha256, download);
    return download;
  }

  /** What this miner made itself, a LoRA: whoever renders with it here needs no transfer. */
  async keep(bytes: Uint8Array): Promise<void> {
    await this.cache.write(createHash('sha256').update(bytes).digest('hex'), bytes);
  }

  private async download(file: InputFile, signal: AbortSignal): Promise<Buffer> {
    const bytes = await fetchCapped(file, signal);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== file.sha256)
      throw new Error(`the input file has SHA-256 ${sha256}, not ${file.sha256} as announced`);
    await this.cache.write(sha256, bytes);
    return bytes;
  }
}

async function fetchCapped({ url, bytes: announced }: InputFile, signal: AbortSignal): Promise<Buffer> {
  if (announced > MAX_INPUT_BYTES)
    throw new Error(`an input file of ${announced} bytes is more than ${MAX_INPUT_BYTES}`);
  const { statusCode, body } = await request(url, { signal, headers: { 'accept-encoding': 'identity' } });
  if (statusCode !== 200) {
    await body.dump();
    throw new Error(`the input file answers ${statusCode}`);
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > announced) throw new Error(`the input file is longer than the ${announced} bytes announced`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
