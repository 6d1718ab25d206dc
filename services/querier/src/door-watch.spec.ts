import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serveHealth } from '@studio/shared/platform/health-routes';
import { Health } from '@studio/shared/platform/health';
import { createMetrics } from '@studio/shared/platform/metrics';
import fastify from 'fastify';
import { DoorWatch } from './door-watch';

const log = { error: () => undefined };

describe('DoorWatch', () => {
  let nowMs: number;
  let status: number;
  let server: Server;
  let watch: DoorWatch;
  let port: number;

  const listen = async (at: number): Promise<void> => {
    server = createServer((_, response) => response.writeHead(status).end('{}')).listen(at, '127.0.0.1');
    await once(server, 'listening');
  };
  const close = async (): Promise<void> => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  const lookAt = async (ms: number): Promise<void> => {
    nowMs = ms;
    await watch.look();
  };

  beforeEach(async () => {
    nowMs = 0;
    status = 200;
    await listen(0);
    port = (server.address() as AddressInfo).port;
    watch = new DoorWatch(`http://127.0.0.1:${port}/`, { log, now: () => nowMs });
  });
  afterEach(async () => {
    await watch.stop();
    if (server.listening) await close();
  });

  it('remembers an outage from the last success to the next', async () => {
    await lookAt(1_000);
    await lookAt(2_000);
    await close();
    await lookAt(4_000);
    await listen(port);
    await lookAt(6_000);
    expect([watch.wasShut(0, 1_999), watch.wasShut(0, 2_000), watch.wasShut(4_500, 4_600)]).toEqual([
      false,
      true,
      true,
    ]);
    expect([watch.wasShut(6_000, 9_000), watch.wasShut(6_001, 9_000)]).toEqual([true, false]);
  });

  it('counts an outage that lasts', async () => {
    await lookAt(1_000);
    await close();
    await lookAt(3_000);
    expect(watch.wasShut(2_000, 2_500)).toBe(true);
    expect(watch.wasShut(100, 900)).toBe(false);
  });

  it('claims nothing before the door was seen open once', async () => {
    await close();
    await lookAt(1_000);
    await lookAt(3_000);
    expect(watch.wasShut(0, 5_000)).toBe(false);
    await listen(port);
    await lookAt(5_000);
    expect(watch.wasShut(0, 5_000)).toBe(false);
  });

  it.each([
    [404, false],
    [429, false],
    [502, true],
    [503, true],
  ])('reads an answer of %i as shut: %p', async (answer, shut) => {
    await lookAt(1_000);
    status = answer;
    await lookAt(2_000);
    expect(watch.wasShut(1_500, 1_600)).toBe(shut);
  });

  it('forgets an outage after half an hour', async () => {
    await lookAt(1_000);
    status = 503;
    await lookAt(2_000);
    status = 200;
    await lookAt(3_000);
    await lookAt(3_000 + 1_800_000);
    expect(watch.wasShut(0, 4_000)).toBe(true);
    await lookAt(3_001 + 1_800_000);
    expect(watch.wasShut(0, 4_000)).toBe(false);
  });

  it('asks the route that every service of ours serves, and sees a database that is away', async () => {
    let database: () => Promise<unknown> = () => Promise.resolve();
    const api = fastify();
    serveHealth(api, new Health({ postgres: () => database() }, { timeoutMs: 1_000 }), createMetrics('test'));
    const door = new DoorWatch(await api.listen({ host: '127.0.0.1', port: 0 }), { log, now: () => nowMs });
    nowMs = 1_000;
    await door.look();
    database = () => Promise.reject(new Error('away'));
    nowMs = 2_000;
    await door.look();
    expect(door.wasShut(1_500, 1_600)).toBe(true);
    await door.stop();
    await api.close();
  });

  it('looks by itself once started', async () => {
    const asked = once(server, 'request');
    watch.start();
    await asked;
  });
});
