/**
 * fal's storage: a client asks for a place, puts the file there without a key, and names the place in its requests. The name is known
 * before the bytes are; once they came it stands for an artifact like any other.
 */
import 'reflect-metadata';
import { validated } from '@studio/shared/contract/validated';
import { StudioError } from '@studio/shared/domain/errors';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import { Type } from 'class-transformer';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, IsString, Min, ValidateNested } from 'class-validator';
import { randomBytes } from 'node:crypto';
import type { ArtifactUrls } from '../artifact-urls';
import { fieldError } from '../job-input';
import { MAX_MULTIPART_UPLOAD, type Uploads } from '../uploads';
import type { UploadSlotStore } from './upload-slot.store';

/** As many as the largest file has, of 10 MiB, and some more for who cuts them smaller. */
const MAX_PARTS = 100;

export interface FalUpload {
  upload_url: string;
  file_url: string;
}

/** What a piece is known by when the file is put together. */
export interface FalPart {
  partNumber: number;
  etag: string;
}

class NamedPart implements FalPart {
  @IsInt()
  @Min(1)
  partNumber!: number;

  @IsString()
  etag!: string;
}

class Completion {
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_PARTS)
  @ValidateNested({ each: true })
  @Type(() => NamedPart)
  parts!: NamedPart[];
}

export class FalFiles {
  private readonly baseUrl: string;

  constructor(
    private readonly slots: UploadSlotStore,
    private readonly uploads: Pick<Uploads, 'add'>,
    private readonly urls: Pick<ArtifactUrls, 'sign'>,
    private readonly store: ArtifactStore,
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

  /** @throws StudioError URL_EXPIRED, MALFORMED_BODY, INVALID_INPUT, BODY_TOO_LARGE */
  async putPart(writing: string, part: string, body: unknown): Promise<FalPart> {
    const partNumber = /^[1-9]\d{0,2}$/.test(part) ? Number(part) : NaN;
    if (!(partNumber <= MAX_PARTS))
      throw fieldError('INVALID_INPUT', 'part', `has to be a number from 1 to ${MAX_PARTS}`);
    if (!Buffer.isBuffer(body) || body.byteLength === 0)
      throw new StudioError('MALFORMED_BODY', 'send the piece itself as the body');
    if (!(await this.slots.isOpen(writing))) throw new StudioError('URL_EXPIRED', EXPIRED);
    const options = { contentType: 'application/octet-stream', maxBytes: body.byteLength };
    const { sha256, bytes } = await this.store.put(body, options);
    await this.slots.keepPart(writing, { part: partNumber, sha256, bytes });
    return { partNumber, etag: sha256 };
  }

  /** @throws StudioError INVALID_INPUT naming a piece that is missing or another one; and as `put`. */
  async complete(writing: string, body: unknown): Promise<void> {
    const { parts } = validated(Completion, body, '', 'drop');
    if (!(await this.slots.isOpen(writing))) throw new StudioError('URL_EXPIRED', EXPIRED);
    const kept = new Map((await this.slots.parts(writing)).map((row) => [row.part, row]));
    const pieces = parts.map(({ partNumber, etag }, index) => {
      const piece = kept.get(partNumber);
      if (piece?.sha256 === etag.replace(/^"|"$/g, '')) return piece;
      throw fieldError(
        'INVALID_INPUT',
        `parts.${index}`,
        `piece ${partNumber} has not come, or is another: send it again`,
      );
    });
    const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    if (bytes > MAX_MULTIPART_UPLOAD)
      throw new StudioError(
        'BODY_TOO_LARGE',
        `the file has ${bytes} bytes, more than ${MAX_MULTIPART_UPLOAD}: send a smaller one`,
      );
    const read = await Promise.all(pieces.map(({ sha256 }) => this.store.read(sha256)));
    if (read.includes(null)) throw new StudioError('URL_EXPIRED', EXPIRED);
    await this.put(writing, Buffer.concat(read as Buffer[], bytes), 'application/octet-stream');
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
