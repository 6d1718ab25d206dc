/** The files behind `image_url` and `lora_url`: they come with the request, were uploaded, or are fetched where they are. */
import { ARTIFACT_SCHEME } from '@studio/shared/contract/submit-job';
import { isStudioError } from '@studio/shared/domain/errors';
import type { Engine, ImageRef, JobInput, LoraRef } from '@studio/shared/domain/job';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { ArtifactRows } from './artifact.store';
import type { ArtifactUrls } from './artifact-urls';
import type { CheckPool } from './checks/check-pool';
import { fieldError, type InputFiles } from './job-input';
import type { RemoteFiles } from './remote-files';
import { LORA_TYPE, storeImage } from './result-intake';
import { MAX_IMAGE_UPLOAD, MAX_LORA_UPLOAD, type Uploads } from './uploads';

/** A photograph sent inside the request; larger ones are uploaded first. */
const MAX_INLINE_BYTES = 10 * 1024 * 1024;

export class ClientFiles implements InputFiles {
  constructor(
    private readonly artifacts: ArtifactStore,
    private readonly rows: ArtifactRows,
    private readonly urls: ArtifactUrls,
    private readonly checks: CheckPool,
    private readonly uploads: Pick<Uploads, 'add'>,
    private readonly remote: RemoteFiles,
  ) {}

  async image(url: string, resolution: number, path: string): Promise<ImageRef> {
    const bytes = await this.bytesOf(url, path);
    const checked = await this.checks.photograph(bytes, resolution);
    if (!checked.ok) throw fieldError('IMAGE_UNREADABLE', path, `the photograph ${checked.reason}`);
    const { image, row } = await storeImage(this.artifacts, checked.value);
    await this.rows.add(row);
    return image;
  }

  async lora(url: string, engine: Engine, path: string): Promise<LoraRef> {
    return this.storedLora(
      this.isElsewhere(url) ? await this.fetchedLora(url, path) : this.urls.parse(url, path),
      engine,
      path,
    );
  }

  async storedLora(sha256: string, engine: Engine, path: string): Promise<LoraRef> {
    const row = await this.rows.use(sha256);
    if (!row) throw fieldError('NOT_FOUND', path, 'no such file is stored any more: upload it again');
    const { facts, ...ref } = row;
    if (facts.engine !== engine || typeof facts.rank !== 'number' || typeof facts.tensorHash !== 'string') {
      const is = typeof facts.engine === 'string' ? `a LoRA of ${facts.engine}` : 'no LoRA';
      throw fieldError('LORA_UNREADABLE', path, `the file is ${is}: send one that was trained on ${engine}`);
    }
    return { ...ref, rank: facts.rank, tensorHash: facts.tensorHash };
  }

  async keep(input: JobInput): Promise<void> {
    await this.rows.use('image' in input ? input.image.sha256 : input.lora.sha256);
  }

  private async bytesOf(url: string, path: string): Promise<Buffer> {
    if (/^data:/i.test(url)) return inlineBytes(url, path);
    return this.isElsewhere(url) ? this.remote.fetch(url, path, MAX_IMAGE_UPLOAD) : this.uploaded(url, path);
  }

  private isElsewhere(url: string): boolean {
    return /^https?:\/\//i.test(url) && !this.urls.isOurs(url);
  }

  /** Kept like an uploaded one. @returns its SHA-256. */
  private async fetchedLora(url: string, path: string): Promise<string> {
    const bytes = await this.remote.fetch(url, path, MAX_LORA_UPLOAD);
    try {
      return (await this.uploads.add(bytes, LORA_TYPE)).sha256;
    } catch (error) {
      throw isStudioError(error) ? fieldError('LORA_UNREADABLE', path, error.message) : error;
    }
  }

  private async uploaded(url: string, path: string): Promise<Buffer> {
    const sha256 = this.urls.parse(url, path);
    const bytes = await this.artifacts.read(sha256);
    if (!bytes) throw fieldError('NOT_FOUND', path, 'no such file is stored any more: upload it again');
    return bytes;
  }
}

/** For the auditor's requests: they also name a LoRA by its hash. Only links that we signed open a file to a client. */
export function houseFiles(files: InputFiles): InputFiles {
  return {
    image: (url, resolution, path) => files.image(url, resolution, path),
    keep: (input) => files.keep(input),
    storedLora: (sha256, engine, path) => files.storedLora(sha256, engine, path),
    lora: (url, engine, path) =>
      url.startsWith(ARTIFACT_SCHEME)
        ? files.storedLora(url.slice(ARTIFACT_SCHEME.length), engine, path)
        : files.lora(url, engine, path),
  };
}

/** `data:image/png;base64,…`. The declared type is not believed: the first bytes decide. */
function inlineBytes(url: string, path: string): Buffer {
  const comma = url.indexOf(',');
  const isBase64 = comma > 0 && /;base64$/i.test(url.slice(0, comma));
  const text = url.slice(comma + 1);
  if (!isBase64 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw fieldError(
      'IMAGE_UNREADABLE',
      path,
      'is not a base64 data URI: send data:image/png;base64,… or upload the file',
    );
  }
  const bytes = Buffer.from(text, 'base64');
  if (bytes.byteLength === 0) throw fieldError('IMAGE_UNREADABLE', path, 'the photograph is empty: send its bytes');
  if (bytes.byteLength <= MAX_INLINE_BYTES) return bytes;
  const message = `is larger than ${MAX_INLINE_BYTES} bytes: upload the file with POST /v1/artifacts and send its url`;
  throw fieldError('IMAGE_UNREADABLE', path, message);
}
