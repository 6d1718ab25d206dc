import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_CLOCK_SKEW_MS } from '@studio/shared/protocol/signatures';
import fc from 'fast-check';
import { NonceMemory } from './nonce-memory';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nonces-'));
});
afterAll(() => rm(folder, { recursive: true }));

const LIFE_MS = 2 * MAX_CLOCK_SKEW_MS;

describe('the memory of nonces', () => {
  it('lets each through once within its life, however often the miner is restarted', async () => {
    let run = 0;
    const step = fc.record({ nonce: fc.constantFrom('a', 'b', 'c'), afterMs: fc.nat(9_000), restart: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const file = join(folder, String(run++));
        const accepted = new Map<string, number>();
        let nowMs = 1_000_000;
        let memory = await NonceMemory.open(file, nowMs);
        for (const { nonce, afterMs, restart } of steps) {
          nowMs += afterMs;
          if (restart) memory = await NonceMemory.open(file, nowMs);
          const since = accepted.get(nonce);
          const expected = since === undefined || since <= nowMs - LIFE_MS;
          expect(await memory.use(nonce, nowMs)).toBe(expected);
          if (expected) accepted.set(nonce, nowMs);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('decides between two equal ones at the same time', async () => {
    const memory = await NonceMemory.open(join(folder, 'race'), 1);
    expect(await Promise.all([memory.use('n', 1), memory.use('n', 1)])).toEqual([true, false]);
  });

  it('forgets in its file as well', async () => {
    const file = join(folder, 'long');
    const memory = await NonceMemory.open(file, 0);
    for (let i = 0; i < 5_000; i++) await memory.use(String(i), i * 100);
    const { size } = await import('node:fs/promises').then(({ stat }) => stat(file));
    expect(size).toBeLessThan(4_200 * 'nnnnnn nnnn.'.length);
  });
});
