/**
 * A miner that does no work: answers every job with the same picture after `delayMs`, by the native miner contract
 * (contract/miner-job.ts), signed where the question was. One process for all of a contender's miners, one port each.
 */
import 'reflect-metadata';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { imagePart, MANIFEST_PART, type MinerJobRequest, type MinerManifest } from '@studio/shared/contract/miner-job';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import type { Signer } from '@studio/shared/protocol/hotkey';
import { HEADERS, signWith, unsignedReply } from '@studio/shared/protocol/signatures';
import { serve } from './child';
import { picture } from './workload';

export interface StubMinerConfig {
  miners: { port: number; seed: string }[];
  delayMs: number;
}

const BOUNDARY = 'stub-miner-form';
const CONTENT_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;
const NEWLINE = '\r\n';

function form({ job_id, attempt }: Pick<MinerJobRequest, 'job_id' | 'attempt'>, imageWithEnd: Buffer): Buffer {
  const manifest: MinerManifest = { job_id, attempt, status: 'completed', files: [imagePart(0)] };
  const head = [
    `--${BOUNDARY}`,
    `content-disposition: form-data; name="${MANIFEST_PART}"; filename="manifest.json"`,
    'content-type: application/json',
    '',
    JSON.stringify(manifest),
    `--${BOUNDARY}`,
    `content-disposition: form-data; name="${imagePart(0)}"; filename="0.png"`,
    'content-type: image/png',
    '',
    '',
  ];
  return Buffer.concat([Buffer.from(head.join(NEWLINE)), imageWithEnd]);
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function answer(
  config: StubMinerConfig,
  imageWithEnd: Buffer,
  signer: Signer,
  request: IncomingMessage,
  response: ServerResponse,
) {
  const body = await bodyOf(request);
  if (request.method !== 'POST' || request.url !== '/v1/jobs') return response.writeHead(404).end();
  if (config.delayMs > 0) await sleep(config.delayMs);
  const result = form(JSON.parse(body.toString('utf8')) as MinerJobRequest, imageWithEnd);
  const signature = await signed(request, result, signer);
  const headers = { 'content-type': CONTENT_TYPE, 'content-length': result.length, ...signature };
  return response.writeHead(200, headers).end(result);
}

async function signed({ headers }: IncomingMessage, body: Buffer, signer: Signer): Promise<Record<string, string>> {
  const { [HEADERS.nonce]: nonce, [HEADERS.hotkey]: recipient } = headers;
  if (typeof nonce !== 'string' || typeof recipient !== 'string') return {};
  return signWith(unsignedReply({ status: 200, body, nonce, recipient }, signer.address), signer);
}

void serve<StubMinerConfig>(async (config) => {
  const imageWithEnd = Buffer.concat([await picture(), Buffer.from(`${NEWLINE}--${BOUNDARY}--${NEWLINE}`)]);
  // In a thread: what a miner's signatures cost may not delay its other answers.
  const threads = new SignatureThreads();
  for (const { port, seed } of config.miners) {
    const signer = threads.signer(seed);
    const server = createServer((request, response) => void answer(config, imageWithEnd, signer, request, response));
    // Longer than any pause of the run: a connection closed in between would be measured as a failure.
    server.keepAliveTimeout = 120_000;
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  }
});
