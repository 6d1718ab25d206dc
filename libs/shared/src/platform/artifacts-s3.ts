import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { ArtifactRef } from '../domain/job';
import { tooLarge, writeDurably } from './artifact-spool';
import { ArtifactCorruptError, isArtifactName, PUT_RENEWS_MS } from './artifacts';
import type { ArtifactStore, LinkOptions, PutOptions } from './artifacts';
import { asStoreDown, isMissing, s3Remedy } from './artifacts-s3-errors';

export interface S3Options {
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
  forcePathStyle: boolean;
  /** Where clients and miners reach the bucket; without it they fetch through us. */
  publicEndpoint?: string;
}

/** A store in the same data centre answers in milliseconds; a request that hangs holds a miner's result. */
const CONNECT_MS = 3_000;
/** Without a byte. */
const STALL_MS = 20_000;
const TRIES = 3;

/** No name of ours: asking for it tells whether bucket, key and endpoint are right, with a reason in the answer. */
const PROBE_KEY = 'studio-probe';

/**
 * Artifacts in a bucket, each under its hash. One PUT each, which S3 makes visible when it is whole and has the checksum
 * that was sent with it, so there are no parts that a crash could leave behind (a PUT may have 5 GiB; ours have 64 MiB).
 */
export class S3ArtifactStore implements ArtifactStore {
  private readonly client: S3Client;
  private readonly publicClient: S3Client | undefined;
  private readonly Bucket: string;

  constructor(
    private readonly options: S3Options,
    private readonly nowMs: () => number = Date.now,
  ) {
    this.client = createClient(options, options.endpoint);
    this.publicClient = options.publicEndpoint ? createClient(options, options.publicEndpoint) : undefined;
    this.Bucket = options.bucket;
  }

  async put(source: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<ArtifactRef> {
    return source instanceof Uint8Array ? this.putBytes(source, options) : this.putStream(source, options);
  }

  async read(sha256: string, { verify = true }: { verify?: boolean } = {}): Promise<Buffer | null> {
    const found = await this.get(sha256);
    if (!found) return null;
    const bytes = Buffer.from(await found.transformToByteArray().catch(asStoreDown));
    if (verify && createHash('sha256').update(bytes).digest('hex') !== sha256) throw new ArtifactCorruptError(sha256);
    return bytes;
  }

  async stream(sha256: string): ReturnType<ArtifactStore['stream']> {
    const found = await this.get(sha256);
    return found && { bytes: found.length, body: found as unknown as Readable };
  }

  async has(sha256: string): Promise<boolean> {
    return (await this.head(sha256)) !== null;
  }

  async link(sha256: string, { contentType, disposition, seconds }: LinkOptions): Promise<string | null> {
    if (!this.publicClient || !isArtifactName(sha256)) return null;
    const command = new GetObjectCommand({
      Bucket: this.Bucket,
      Key: sha256,
      ResponseContentType: contentType,
      ResponseContentDisposition: disposition,
    });
    return getSignedUrl(this.publicClient, command, { expiresIn: seconds });
  }

  async *list(prefix: string): AsyncGenerator<string> {
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({ Bucket: this.Bucket, Prefix: prefix, ContinuationToken: token });
      const page = await this.client.send(command).catch(asStoreDown);
      yield* (page.Contents ?? []).map(({ Key }) => Key).filter(isArtifactName);
      token = page.NextContinuationToken;
    } while (token);
  }

  async remove(sha256: string, before: Date): Promise<boolean> {
    const head = await this.head(sha256);
    if (!head?.LastModified || head.LastModified >= before) return false;
    await this.client.send(new DeleteObjectCommand({ Bucket: this.Bucket, Key: sha256 })).catch(asStoreDown);
    return true;
  }

  async check(): Promise<void> {
    try {
      await this.client.send(new GetObjectCommand({ Bucket: this.Bucket, Key: PROBE_KEY }));
    } catch (error) {
      if (!isMissing(error)) throw new Error(s3Remedy(error, this.options), { cause: error });
    }
  }

  private async putBytes(bytes: Uint8Array, { contentType, maxBytes }: PutOptions): Promise<ArtifactRef> {
    if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes);
    const ref = { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.byteLength, contentType };
    await this.publish(ref, () => bytes);
    return ref;
  }

  private async putStream(source: AsyncIterable<Uint8Array>, { contentType, maxBytes }: PutOptions) {
    const temporary = join(tmpdir(), `artifact-${randomUUID()}`);
    try {
      const ref = { ...(await writeDurably(temporary, source, maxBytes)), contentType };
      await this.publish(ref, () => createReadStream(temporary));
      return ref;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Sent again when its time is old, which is what renews it. */
  private async publish({ sha256, bytes, contentType }: ArtifactRef, body: () => Uint8Array | Readable): Promise<void> {
    const stored = await this.head(sha256);
    const age = this.nowMs() - (stored?.LastModified?.getTime() ?? -Infinity);
    if (stored?.ContentLength === bytes && age < PUT_RENEWS_MS) return;
    const command = new PutObjectCommand({
      Bucket: this.Bucket,
      Key: sha256,
      Body: body(),
      ContentLength: bytes,
      ContentType: contentType,
      ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
    });
    await this.client.send(command).catch(asStoreDown);
  }

  private async head(sha256: string): Promise<HeadObjectCommandOutput | null> {
    if (!isArtifactName(sha256)) return null;
    const head = this.client.send(new HeadObjectCommand({ Bucket: this.Bucket, Key: sha256 }));
    return head.catch((error) => (isMissing(error) ? null : asStoreDown(error)));
  }

  private async get(sha256: string) {
    if (!isArtifactName(sha256)) return null;
    try {
      const { Body, ContentLength } = await this.client.send(
        new GetObjectCommand({ Bucket: this.Bucket, Key: sha256 }),
      );
      return Body ? Object.assign(Body, { length: ContentLength ?? 0 }) : null;
    } catch (error) {
      return isMissing(error) ? null : asStoreDown(error);
    }
  }
}

function createClient({ region, accessKeyId, secretAccessKey, forcePathStyle }: S3Options, endpoint: string): S3Client {
  return new S3Client({
    endpoint,
    region,
    forcePathStyle,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: TRIES,
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: STALL_MS },
    // Our own SHA-256 goes with every PUT; a second one as a trailer is what older servers of the protocol refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}
