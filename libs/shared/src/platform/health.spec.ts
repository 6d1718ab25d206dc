import { Health } from './health';
import { createMetrics } from './metrics';

describe('readiness', () => {
  it('is given when every dependency answers', async () => {
    const health = new Health({ postgres: async () => 1, nats: async () => undefined }, { timeoutMs: 1_000 });
    expect(await health.readiness()).toEqual({ ready: true, dependencies: { postgres: 'ok', nats: 'ok' } });
  });

  it('names the dependency that fails, throws or hangs, without its details', async () => {
    const health = new Health(
      {
        postgres: () => Promise.reject(new Error('password of querier is wrong')),
        redis: () => {
          throw new Error('sync');
        },
        nats: () => new Promise(() => undefined),
        disk: async () => undefined,
      },
      { timeoutMs: 20 },
    );
    expect(await health.readiness()).toEqual({
      ready: false,
      dependencies: {
        postgres: 'does not answer',
        redis: 'does not answer',
        nats: 'no answer within 20 ms',
        disk: 'ok',
      },
    });
  });
});

describe('liveness', () => {
  it('does not depend on other servers', () => {
    expect(new Health({ postgres: () => Promise.reject(new Error()) }, { timeoutMs: 1 }).isAlive()).toBe(true);
    expect(new Health({}, { timeoutMs: 1, alive: () => false }).isAlive()).toBe(false);
  });
});

describe('createMetrics', () => {
  it('gives each process a registry of its own, labelled with the service', async () => {
    const [one, other] = [createMetrics('auditor'), createMetrics('registry')];
    expect(one).not.toBe(other);
    expect(await one.metrics()).toMatch(/process_resident_memory_bytes\{service="auditor"\} \d+/);
  });
});
