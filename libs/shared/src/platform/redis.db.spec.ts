import { createServer } from 'node:net';
import { once } from 'node:events';
import { openTestRedis, type TestRedis } from '../testing/redis';
import { connectRedis } from './redis';

describe('connectRedis', () => {
  let server: TestRedis;

  beforeAll(async () => {
    server = await openTestRedis();
  });
  afterAll(() => server.close());

  it('opens with its first command', async () => {
    const redis = connectRedis(server.url, 'spec', { warn: jest.fn(), info: jest.fn() });
    expect(redis.status).toBe('wait');
    expect(await redis.set('a', '1')).toBe('OK');
    await redis.quit();
  });

  it('fails a command instead of waiting when nothing listens, and logs the outage once', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await once(closed, 'close');
    const log = { warn: jest.fn(), info: jest.fn() };
    const redis = connectRedis(`redis://127.0.0.1:${port}`, 'spec', log);
    await expect(redis.get('a')).rejects.toThrow();
    await expect(redis.get('a')).rejects.toThrow();
    expect(log.warn).toHaveBeenCalledTimes(1);
    redis.disconnect();
  });

  it('comes back by itself after its connection was killed', async () => {
    const log = { warn: jest.fn(), info: jest.fn() };
    const redis = connectRedis(server.url, 'victim', log);
    const id = await redis.client('ID');
    const back = once(redis, 'ready');
    await server.client.client('KILL', 'ID', id);
    await back;
    expect(await redis.ping()).toBe('PONG');
    await redis.quit();
  });
});
