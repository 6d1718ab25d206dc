import { buffer } from 'node:stream/consumers';
import { HOSTILE_CASES, HOSTILE_REQUEST, type HostileCase } from '../testing/hostile-corpus';
import { startHostileServer, type HostileServer } from '../testing/hostile-server';
import { createEgress, type Egress } from './egress';
import { EgressError } from './egress-error';

/** Behind a timer of the same length, which is as late as this process is; below the 3 s of a connect that nobody ends. */
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
      let dueMs = Infinity;
      const due = setTimeout(() => (dueMs = performance.now()), HOSTILE_REQUEST.deadlineMs);
      const found = await outcomeOf(hostile);
      const lateMs = performance.now() - dueMs;
      clearTimeout(due);
      expect(found.outcome).toBe(hostile.outcome);
      if (hostile.body !== undefined) expect(found.body).toBe(hostile.body);
      expect(lateMs).toBeLessThan(MARGIN_MS);
      expect(process.memoryUsage.rss() - before).toBeLessThan(MAX_GROWTH_BYTES);
    },
  );
});
