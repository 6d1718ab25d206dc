/**
 * fal's storage: a client asks for a place, puts the file there without a key, and names the place in its requests. The name is known
 * before the bytes are; once they came it stands for an artifact like any other.
 */
import { StudioError } from '@studio/shared/domain/errors';
import { randomBytes } from 'node:crypto';
import type { ArtifactUrls } from '../artifact-urls';
import { fieldError } from '../job-input';
import type { Uploads } from '../uploads';
import type { UploadSlotStore } from './upload-slot.store';

export interface FalUpload {
  upload_url: string;
  file_url: string;
}

export class FalFiles {
  private readonly baseUrl: string;

  constructor(
    private readonly slots: UploadSlotStore,
    private readonly uploads: Pick<Uploads, 'add'>,
    private readonly urls: Pick<ArtifactUrls, 'sign'>,
    publicUrl: string,
  ) {
    this.baseUrl = `${publicUrl.replace(/\/+$/, '')}/rest/storage/files`;
  }

  /** Two names of 256 bits that nobody can guess: whoever knows the one may write once, whoever knows the other may read. */
  async initiate(clientId: string): Promise<FalUpload> {
    const [writing, reading] = [randomBytes(32), randomBytes(32)].map((name) => name.toString('base64url'));
    await this.slots.open({ clientId, writing: writing!, reading: reading! });
    return { upload_url: `${this.baseUrl}/upload/${writing}`, file_url: `${this.baseUrl}/${reading}` };
  }

  /** @throws StudioError URL_EXPIRED for a place that is unknown, old or taken; and as `Uploads.add`. */
  async put(writing: string, body: unknown, contentType: string | undefined): Promise<void> {
    if (!(await this.slots.isOpen(writing))) throw new StudioError('URL_EXPIRED', EXPIRED);
    const { sha256 } = await this.uploads.add(body, contentType);
    if (!(await this.slots.fill(writing, sha256))) throw new StudioError('URL_EXPIRED', EXPIRED);
  }

  /** A signed link to the file. @throws StudioError NOT_FOUND */
  async link(reading: string): Promise<string> {
    const sha256 = await this.slots.find(reading);
    if (sha256 === undefined) throw new StudioError('NOT_FOUND', 'no such file was uploaded, or its time is over');
    return this.urls.sign(sha256);
  }

  /** The request with links to artifacts in place of names of this storage, wherever they stand in its input. */
  async resolve(clientId: string, request: object): Promise<object> {
    const { input, ...rest } = request as { input: Record<string, unknown> };
    const fields = await Promise.all(
      Object.entries(input).map(async ([field, value]) => {
        if (typeof value !== 'string' || !value.startsWith(`${this.baseUrl}/`)) return [field, value];
        const sha256 = await this.slots.findOf(clientId, value.slice(this.baseUrl.length + 1));
        if (sha256 === undefined)
          throw fieldError('NOT_FOUND', `input.${field}`, 'no such file of yours was uploaded, or its time is over');
        return [field, this.urls.sign(sha256)];
      }),
    );
    return { ...rest, input: Object.fromEntries(fields) as object };
  }
}

const EXPIRED = 'the place for this upload is unknown, too old or already taken: ask for a new one';
