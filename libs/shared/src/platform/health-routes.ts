import type { FastifyInstance } from 'fastify';
import type { Registry as Metrics } from 'prom-client';
import type { Health } from './health';

const OK = 200;
const UNAVAILABLE = 503;

/** What the platform that a process runs on asks it; the same of every service, and nothing for users. */
export function serveHealth(server: FastifyInstance, health: Health, metrics: Metrics): void {
  server.get('/health/live', (_request, reply) => {
    const alive = health.isAlive();
    return reply.status(alive ? OK : UNAVAILABLE).send({ alive });
  });
  server.get('/health/ready', async (_request, reply) => {
    const readiness = await health.readiness();
    return reply.status(readiness.ready ? OK : UNAVAILABLE).send(readiness);
  });
  server.get('/metrics', async (_request, reply) => {
    const text = await metrics.metrics();
    return reply.header('content-type', metrics.contentType).send(text);
  });
}
