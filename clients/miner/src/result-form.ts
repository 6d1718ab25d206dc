import { type MinerManifest, LORA_PART, MANIFEST_PART, imagePart } from '@studio/shared/contract/miner-job';
import { FormData, Response } from 'undici';

/** A finished attempt as it goes over the wire, in a 200 reply or a callback alike. */
export interface ResultForm {
  contentType: string;
  body: Buffer;
}

/** What an attempt made, or why it made nothing. */
export type Produce = { lora: Uint8Array } | { images: Uint8Array[] } | { error: string };

/** `multipart/form-data`: part `manifest` first, then one part per file. */
export async function encodeResult(
  attempt: { job_id: string; attempt: number },
  produce: Produce,
): Promise<ResultForm> {
  const files = partsOf(produce);
  const manifest: MinerManifest = {
    job_id: attempt.job_id,
    attempt: attempt.attempt,
    status: 'error' in produce ? 'failed' : 'completed',
    files: files.map(({ part }) => part),
    ...('error' in produce && { error: produce.error }),
  };
  const form = new FormData();
  form.set(MANIFEST_PART, new Blob([JSON.stringify(manifest)], { type: 'application/json' }), 'manifest.json');
  for (const { part, bytes, type, filename } of files) form.set(part, new Blob([bytes], { type }), filename);
  // A Response is undici's own multipart writer; the form is small enough to sign and keep as one buffer.
  const response = new Response(form);
  return { contentType: response.headers.get('content-type') ?? '', body: Buffer.from(await response.arrayBuffer()) };
}

interface FilePart {
  part: string;
  bytes: Uint8Array<ArrayBuffer>;
  type: string;
  filename: string;
}

function partsOf(produce: Produce): FilePart[] {
  if ('error' in produce) return [];
  if ('lora' in produce) {
    const bytes = new Uint8Array(produce.lora);
    return [{ part: LORA_PART, bytes, type: 'application/octet-stream', filename: 'lora.safetensors' }];
  }
  return produce.images.map((image, i) => ({
    part: imagePart(i),
    bytes: new Uint8Array(image),
    type: 'image/png',
    filename: `${i}.png`,
  }));
}
