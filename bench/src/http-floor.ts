/**
 * The physical limit: a Fastify server that passes each job on to a miner and answers when the miner has, and stores
 * nothing. What every orchestrator must pay at least.
 */
import Fastify from 'fastify';
import { Agent, request } from 'undici';
import { serve } from './child';

export interface HttpFloorConfig {
  port: number;
  miners: string[];
}

/** Requests to one miner at the same time, as in the other contenders: 64 in all. */
const CONNECTIONS = 16;

void serve<HttpFloorConfig>(async ({ port, miners }) => {
  const dispatcher = new Agent({ connections: CONNECTIONS });
  const server = Fastify({ logger: false, keepAliveTimeout: 120_000 });
  let turn = 0;
  server.post('/v1/jobs', async (incoming, reply) => {
    const url = `${miners[(turn += 1) % miners.length]}/v1/jobs`;
    const headers = { 'content-type': 'application/json' };
    const result = await request(url, { method: 'POST', headers, body: JSON.stringify(incoming.body), dispatcher });
    const bytes = (await result.body.arrayBuffer()).byteLength;
    return reply.code(result.statusCode).send({ bytes });
  });
  await server.listen({ port, host: '127.0.0.1' });
});
