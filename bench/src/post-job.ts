import Busboy from '@fastify/busboy';
import type { IncomingHttpHeaders } from 'node:http';
import { request, type Dispatcher } from 'undici';

/** Sends one job to a miner and reads the form it answers with: part name → bytes. @throws Error unless it answers 200. */
export async function postJob(miner: string, job: object, dispatcher: Dispatcher): Promise<Map<string, Buffer>> {
  const headers = { 'content-type': 'application/json' };
  const reply = await request(`${miner}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(job), dispatcher });
  if (reply.statusCode !== 200) {
    await reply.body.dump();
    throw new Error(`the miner answered ${reply.statusCode}`);
  }
  return readForm(reply.headers, reply.body);
}

function readForm(headers: IncomingHttpHeaders, body: NodeJS.ReadableStream): Promise<Map<string, Buffer>> {
  return new Promise((resolve, reject) => {
    const parts = new Map<string, Buffer>();
    const parser = new Busboy({ headers: { ...headers, 'content-type': headers['content-type'] ?? '' } });
    parser.on('file', (name, stream) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => parts.set(name, Buffer.concat(chunks)));
    });
    parser.once('finish', () => resolve(parts)).once('error', reject);
    body.once('error', reject).pipe(parser);
  });
}
