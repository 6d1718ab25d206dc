/** A miner's result as the bytes of a multipart form, put together by hand: also as no client would. */
import { MANIFEST_PART } from '../contract/miner-job';

const BOUNDARY = 'edge';
export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

export const MANIFEST = JSON.stringify({
  job_id: '0198f2a0-0000-7000-8000-000000000001',
  attempt: 1,
  status: 'completed',
  files: ['image_0'],
});

export const part = (name: string, bytes: Uint8Array | string, headers = ''): Buffer =>
  Buffer.concat([
    Buffer.from(
      `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"; filename="${name}"\r\n${headers}\r\n`,
    ),
    Buffer.from(bytes as string),
    Buffer.from('\r\n'),
  ]);

export const field = (name: string, value: string): Buffer =>
  Buffer.from(`--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`);

export const form = (...parts: Buffer[]): Buffer => Buffer.concat([...parts, Buffer.from(`--${BOUNDARY}--\r\n`)]);

export const manifestPart = (json: string = MANIFEST): Buffer =>
  part(MANIFEST_PART, json, 'content-type: application/json\r\n');
