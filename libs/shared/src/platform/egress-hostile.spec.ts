import { buffer } from 'node:stream/consumers';
import { HOSTILE_CASES, HOSTILE_REQUEST, type HostileCase } from '../testing/hostile-corpus';
import { startHostileServer, type HostileServer } from '../testing/hostile-server';
import { createEgress, type Egress } from './egress';
import { EgressError } from './egress-error';

/** Far above what a slow machine adds, and with the deadline still below the 3 s of a connect that nobody ends. */
const MARGIN_MS = 2_000;
const MAX_GROWTH_BYTES = 64 * 1024 * 1024;

describe('egress against a server that', () => {
  let egress: Egress;
  let server: HostileServer | undefined;

  beforeEach(() => {
    egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 2 });
  });
  afterEach(async () => {
    await egress.close();
    await server?.close();
  });

  async function outcomeOf({
    behaviour,
    tls,
    https,
    maxBytes = HOSTILE_REQUEST.maxBytes,
  }: HostileCase): Promise<{ outcome: string | number; body: string }> {
    server = await startHostileServer(behaviour, { tls: tls === true });
    const url = `${https ? 'https' : 'http'}://127.0.0.1:${server.port}/`;
    try {
      const reply = await egress.request({ ...HOSTILE_REQUEST, maxBytes, url });
      return { outcome: reply.status, body: (await buffer(reply.body)).toString() };
    } catch (error) {
      if (!(error instanceof EgressError)) throw error;
      return { outcome: error.code, body: error.message };
    }
  }

  it.each(HOSTILE_CASES.map((each) => [each.name, each.stoppedBy, each] as const))(
    '%s is stopped by: %s',
    async (_name, _limit, hostile) => {
      const before = process.memoryUsage.rss();
      const startMs = performance.now();
      const found = await outcomeOf(hostile);
      const tookMs = performance.now() - startMs;
      expect(found.outcome).toBe(hostile.outcome);
      if (hostile.body !== undefined) expect(found.body).toBe(hostile.body);
      expect(tookMs).toBeLessThan(HOSTILE_REQUEST.deadlineMs + MARGIN_MS);
      expect(process.memoryUsage.rss() - before).toBeLessThan(MAX_GROWTH_BYTES);
    },
  );
});
