/** What a Dippy Studio miner brings when a job has ended, read into the same result that a native miner sends. */
import { imagePart, type MinerManifest } from '@studio/shared/contract/miner-job';
import { collectParts, ResultRefused, type MinerResult, type PartLimits } from '../miner-result';

const IMAGE = 'image';
const FIELDS = ['job_id', 'status', 'completed_at', 'error', 'image_url'] as const;
type Field = (typeof FIELDS)[number];

/** A sentence of theirs; a stack trace fits. */
const MAX_FIELD_BYTES = 64 * 1024;

export interface ExpectedDippy {
  /** Our job and attempt, for the result. */
  jobId: string;
  attemptNo: number;
  /** The id that the attempt had with them. */
  dippyId: string;
  maxImageBytes: number;
}

type Parts = Map<string, Buffer>;

/**
 * `body` is bounded already. Their client writes a multipart form only where there is an image to send: what failed comes
 * urlencoded. @throws ResultRefused; the stream's own error when it breaks off.
 */
export async function readDippyCallback(
  body: AsyncIterable<Uint8Array>,
  contentType: string | undefined,
  expected: ExpectedDippy,
): Promise<MinerResult> {
  const parts = await readParts(body, contentType ?? '', expected.maxImageBytes);
  const { jobId: job_id, attemptNo: attempt, dippyId } = expected;
  if (text(parts, 'job_id') !== dippyId) throw new ResultRefused('the callback belongs to another job or attempt');
  const status = text(parts, 'status');
  if (status === 'failed') {
    const manifest: MinerManifest = { job_id, attempt, status, error: text(parts, 'error'), files: [] };
    return { manifest, files: new Map() };
  }
  if (status !== 'completed') throw new ResultRefused('the part status has to be completed or failed');
  const name = imagePart(0);
  return { manifest: { job_id, attempt, status, files: [name] }, files: new Map([[name, imageOf(parts)]]) };
}

function imageOf(parts: Parts): Buffer {
  const image = parts.get(IMAGE);
  if (image && image.byteLength > 0) return image;
  const why =
    parts.has('image_url') && !image ? ': its address alone is not followed, send the file as part image' : '';
  throw new ResultRefused(`a completed job without an image${why}`);
}

function readParts(body: AsyncIterable<Uint8Array>, contentType: string, maxImageBytes: number): Promise<Parts> {
  if (contentType.startsWith('multipart/form-data')) {
    const limits: PartLimits = {
      names: [...FIELDS, IMAGE],
      maxFiles: 1,
      maxFileBytes: maxImageBytes,
      maxFieldBytes: MAX_FIELD_BYTES,
    };
    return collectParts(body, contentType, limits);
  }
  if (contentType.startsWith('application/x-www-form-urlencoded')) return readUrlEncoded(body);
  throw new ResultRefused('the callback is not multipart/form-data');
}

async function readUrlEncoded(body: AsyncIterable<Uint8Array>): Promise<Parts> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > MAX_FIELD_BYTES)
      throw new ResultRefused(`a form without an image has at most ${MAX_FIELD_BYTES} bytes`);
    chunks.push(chunk);
  }
  const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
  return new Map([...form].map(([name, value]) => [name, Buffer.from(value)]));
}

function text(parts: Parts, name: Field): string {
  return parts.get(name)?.toString('utf8') ?? '';
}
