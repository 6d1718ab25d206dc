import { request } from 'undici';
import type { DippyScores, ScoreBoard } from '@studio/shared/contract/scores';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { reversalOf, someAward } from '@studio/shared/testing/auditor-side';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });

let ground: RegistryGround;
let registry: RunningRegistry;
let replica: RunningRegistry;

const start = (): Promise<RunningRegistry> => boot(loadEnv(RegistryEnv, ground.env()), log);
const append = (...entries: object[]): Promise<unknown> =>
  requestJson(ground.nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });

interface Answer {
  status: number;
  etag: string | null;
  cacheControl: string | null;
  text: string;
}

async function ask(
  path: string,
  { known, base = registry.url }: { known?: string; base?: string } = {},
): Promise<Answer> {
  const reply = await fetch(`${base}${path}`, { headers: known === undefined ? {} : { 'if-none-match': known } });
  const [etag, cacheControl] = [reply.headers.get('etag'), reply.headers.get('cache-control')];
  return { status: reply.status, etag, cacheControl, text: await reply.text() };
}

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  await ground.auditor.commit(1, 2, 3);
  [registry, replica] = await Promise.all([start(), start()]);
  await until(async () => (await ask('/v1/epochs/current')).status === 200);
});

afterAll(async () => {
  await Promise.all([registry.close(), replica.close()]);
  await ground.close();
});

describe('the doors to the scores', () => {
  it('give a board once, and after that only what changed, whichever replica is asked', async () => {
    await append(someAward({ hotkey: 'ada' }));
    const first = await ask('/v1/scores');
    expect(first).toMatchObject({ status: 200, cacheControl: 'no-cache' });
    for (const base of [registry.url, replica.url]) {
      expect(await ask('/v1/scores', { known: first.etag!, base })).toEqual({ ...first, status: 304, text: '' });
    }
    await append(someAward({ hotkey: 'ada' }));
    const second = await ask('/v1/scores', { known: `"another", W/${first.etag}`, base: replica.url });
    expect(second.status).toBe(200);
    expect((JSON.parse(second.text) as ScoreBoard).miners[0]?.points).toBe('1400000');
    expect((await ask('/v1/scores', { known: `"another", W/${second.etag}` })).status).toBe(304);
  });

  it("tag a miner's own score and the policy as well", async () => {
    for (const path of ['/v1/scores/ada', '/v1/policy']) {
      const { status, etag } = await ask(path);
      expect(status).toBe(200);
      expect((await ask(path, { known: etag!, base: replica.url })).status).toBe(304);
    }
    expect(JSON.parse((await ask('/v1/policy')).text)).toEqual(DEFAULT_POLICY);
    expect((await ask('/v1/scores/nobody', { known: '*' })).status).toBe(404);
  });

  it('let a snapshot be kept for ever', async () => {
    await ground.auditor.settle(1);
    const close = {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body: '{}',
    };
    expect((await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, close)).ok).toBe(true);
    const taken = await until(async () => {
      const answer = await ask('/v1/snapshots/1');
      return answer.status === 200 && answer;
    });
    expect(taken.cacheControl).toBe('public, max-age=31536000, immutable');
    expect((await ask('/v1/snapshots/1', { known: taken.etag!, base: replica.url })).status).toBe(304);
  });

  it('serve existing validators, which send hotkeys along and read COMPLETED scores from 0 to 1', async () => {
    const [ben, cleo] = [
      someAward({ hotkey: 'ben', points: '350000', epoch: 2 }),
      someAward({ hotkey: 'cleo', epoch: 2 }),
    ];
    await append(ben, cleo, someAward({ hotkey: 'cleo', epoch: 2, points: '0' }));
    await append(reversalOf(cleo));
    await ground.owner.query(
      `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
       SELECT gen_random_uuid(), hotkey, 'lora-training', 2, 22, 'cheated' FROM unnest(ARRAY['ben', 'cleo']) hotkey`,
    );
    // As Python's requests sends it: a GET with JSON.
    const reply = await request(`${registry.url}/scores`, {
      method: 'GET',
      headers: { 'content-type': 'application/json', Hotkey: '5validator' },
      body: JSON.stringify({ hotkeys: ['ada', 'nobody'] }),
    });
    expect(reply.statusCode).toBe(200);
    const { scores, stats } = (await reply.body.json()) as DippyScores;
    expect(scores).toEqual({
      ada: { status: 'COMPLETED', score: { total_score: 1 } },
      ben: { status: 'COMPLETED', score: { total_score: 0.25 } },
      cleo: { status: 'SLASHED', score: { total_score: 0 } },
    });
    expect(stats).toMatchObject({ source: 'ledger', requested: 3, available: 3 });
    expect(Date.parse(stats.last_updated!)).not.toBeNaN();
    const { etag } = await ask('/scores');
    expect((await ask('/scores', { known: etag!, base: replica.url })).status).toBe(304);
    await ground.owner.query(
      `INSERT INTO studio.quarantine_lifts (quarantine_id, cause, cause_id) SELECT id, 'amnesty', id FROM studio.quarantines WHERE hotkey = 'cleo'`,
    );
    const { scores: lifted } = JSON.parse((await ask('/scores', { known: etag! })).text) as DippyScores;
    expect(lifted.cleo?.status).toBe('COMPLETED');
  });
});
