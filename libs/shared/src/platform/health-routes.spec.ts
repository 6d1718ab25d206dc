import fastify from 'fastify';
import { Health } from './health';
import { serveHealth } from './health-routes';
import { createMetrics } from './metrics';

function serve(probe: () => Promise<unknown>, alive = true) {
  const server = fastify();
  serveHealth(server, new Health({ postgres: probe }, { timeoutMs: 100, alive: () => alive }), createMetrics('spec'));
  return server;
}

describe('the health routes', () => {
  it('say ready while every dependency answers', async () => {
    const reply = await serve(async () => 'here').inject('/health/ready');
    expect(reply.statusCode).toBe(200);
    expect(reply.json()).toEqual({ ready: true, dependencies: { postgres: 'ok' } });
  });

  it('say not ready while one does not, and stay alive', async () => {
    const server = serve(() => Promise.reject(new Error('secret host')));
    const reply = await server.inject('/health/ready');
    expect(reply.statusCode).toBe(503);
    expect(reply.body).not.toContain('secret host');
    expect((await server.inject('/health/live')).statusCode).toBe(200);
  });

  it('say dead where only a restart would heal', async () => {
    expect((await serve(async () => 'here', false).inject('/health/live')).statusCode).toBe(503);
  });

  it('give the figures of the process', async () => {
    const reply = await serve(async () => 'here').inject('/metrics');
    expect(reply.headers['content-type']).toMatch(/^text\/plain/);
    expect(reply.body).toMatch(/process_cpu_seconds_total\{service="spec"\}/);
  });
});
