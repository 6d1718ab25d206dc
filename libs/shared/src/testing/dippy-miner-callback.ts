/** What a Dippy Studio miner sends when a job has ended, byte for byte in the form its HTTP client gives it. */
import { createEgress } from '../platform/egress';

export interface DippyCallbackParts {
  job_id: string;
  status: 'completed' | 'failed';
  error?: string;
  /** The bytes of `<job_id>.png`; absent where the miner has none. */
  image?: Buffer;
  image_url?: string;
}

export interface EncodedCallback {
  contentType: string;
  body: Buffer;
}

const BOUNDARY = 'f3c1a9d27be04c5c8f6c0d4a5b1e9d72';
const NEWLINE = '\r\n';
/** Their default patience. */
const CALLBACK_MS = 30_000;
const MAX_REPLY_BYTES = 64 * 1024;

/**
 * The parts in their order. Without a file the same fields come as `application/x-www-form-urlencoded`: their client
 * writes a multipart form only where a part is binary, so every `failed` arrives like that.
 */
export function encodeCallback(parts: DippyCallbackParts, completedAt: Date): EncodedCallback {
  const { job_id, status, error, image, image_url } = parts;
  const before = { job_id, status, completed_at: completedAt.toISOString(), ...(error && { error }) };
  if (!image) {
    const form = new URLSearchParams({ ...before, ...(image_url && { image_url }) });
    return { contentType: 'application/x-www-form-urlencoded', body: Buffer.from(form.toString()) };
  }
  const type = 'image/png';
  const chunks = [
    ...Object.entries(before).map(([name, value]) => part(name, Buffer.from(value))),
    part('image', image, { filename: `${job_id}.png`, type }),
    ...(image_url ? [part('image_url', Buffer.from(image_url))] : []),
    Buffer.from(`--${BOUNDARY}--${NEWLINE}`),
  ];
  return { contentType: `multipart/form-data; boundary=${BOUNDARY}`, body: Buffer.concat(chunks) };
}

/** One try, whatever comes of it; undefined where nobody answered. */
export async function sendCallback(
  url: string,
  secret: string | null,
  { contentType, body }: EncodedCallback,
): Promise<number | undefined> {
  const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 1 });
  try {
    const headers = { 'content-type': contentType, ...(secret !== null && { 'x-callback-secret': secret }) };
    const limits = { deadlineMs: CALLBACK_MS, headersMs: CALLBACK_MS, maxBytes: MAX_REPLY_BYTES };
    const reply = await egress.request({ url, method: 'POST', headers, body, ...limits });
    reply.discard();
    return reply.status;
  } catch {
    return undefined;
  } finally {
    await egress.close();
  }
}

function part(name: string, value: Buffer, file?: { filename: string; type: string }): Buffer {
  const head = [
    `--${BOUNDARY}`,
    `Content-Type: ${file?.type ?? 'text/plain; charset=utf-8'}`,
    `Content-Disposition: form-data; name="${name}"${file ? `; filename="${file.filename}"` : ''}`,
    '',
    '',
  ];
  return Buffer.concat([Buffer.from(head.join(NEWLINE)), value, Buffer.from(NEWLINE)]);
}
