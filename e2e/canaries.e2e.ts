/** No client sends anything but an example, and yet every miner is measured, and a cheat is found out. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import type { Snapshot } from '@studio/shared/contract/scores';
import { until } from '@studio/shared/testing/registry-ground';
import { LiveSystem, type LiveMiner } from './live-system';

/** One epoch by the clock, and the start and close around it; two cores share all of it. */
jest.setTimeout(300_000);

const EPOCH_S = 90;
const FLOOR = 3;
const POLICY: Policy = {
  ...DEMO_POLICY,
  version: 9_100,
  epochBlocks: EPOCH_S,
  blockMs: 1_000,
  // Nothing is drawn: who is found out is found out by a known answer.
  audit: {
    ...DEMO_POLICY.audit,
    probationJobs: 0,
    baseRate: 0,
    trustedRate: 0,
    floorPerEpoch: 0,
    meanDelayMs: 50,
    canary: { floorPerEpoch: FLOOR, knownShare: 1 },
  },
};
const HONEST = ['ada', 'ben'];
const MINERS: LiveMiner[] = [
  ...HONEST.map((name): LiveMiner => ({ name, profile: 'honest' })),
  { name: 'idler', profile: 'fewer-steps' },
  { name: 'reference', profile: 'honest', trusted: true, slots: { training: 2, inference: 4 } },
];
const PHOTOS = join(__dirname, '../photos');

let system: LiveSystem;
let snapshot: Snapshot;

beforeAll(async () => {
  system = await LiveSystem.open(POLICY, MINERS, undefined, { CANARY_CORPUS: PHOTOS });
  const { url } = await system.api.upload(readFileSync(join(PHOTOS, 'coffee.png')), 'image/png');
  const lora = await system.train(url, { resolution: 32, steps: 40, rank: 8 });
  await system.render(lora!, { prompt: 'the only one', width: 40, height: 32 });
  snapshot = await until(async () => {
    const reply = await fetch(`${system.registry.url}/v1/snapshots/1`);
    return reply.ok && ((await reply.json()) as Snapshot);
  });
});
afterAll(() => system?.close());

const rows = async <T>(sql: string, values: unknown[] = []): Promise<T[]> =>
  (await system.owner.query(sql, values)).rows as T[];

describe('a network without clients', () => {
  it('gives every honest miner its floor of both kinds in the epoch', async () => {
    for (const name of HONEST) {
      const jobs = await rows<{ kind: string; jobs: number }>(
        `SELECT kind, count(*)::int AS jobs FROM studio.draws WHERE hotkey = $1 AND epoch = 1 GROUP BY kind`,
        [system.hotkeys.get(name)],
      );
      expect(jobs.map(({ kind }) => kind).sort()).toEqual(['lora-inference', 'lora-training']);
      for (const lane of jobs) expect(lane.jobs).toBeGreaterThanOrEqual(FLOOR);
    }
  });

  it('finds out who trains less than it is asked for, and holds nothing against the others', async () => {
    const verdicts = await rows<{ hotkey: string; kind: string; outcome: string; why: string }>(
      `SELECT v.hotkey, v.kind, v.outcome, a.why FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id`,
    );
    const invalid = verdicts.filter(({ outcome }) => outcome === 'invalid');
    expect(invalid.length).toBeGreaterThan(0);
    for (const { hotkey, kind } of invalid) {
      expect({ hotkey, kind }).toEqual({ hotkey: system.hotkeys.get('idler'), kind: 'lora-training' });
    }
    expect(invalid.some(({ why }) => why === 'canary')).toBe(true);
    const valid = verdicts.filter(({ hotkey }) => hotkey === system.hotkeys.get('ada'));
    expect(valid.length).toBeGreaterThan(0);
  });

  it('scores everybody who worked, the cheat below the others', () => {
    const scoreOf = (name: string): bigint =>
      BigInt(snapshot.miners.find(({ hotkey }) => hotkey === system.hotkeys.get(name))?.points ?? 0);
    for (const name of HONEST) expect(scoreOf(name)).toBeGreaterThan(scoreOf('idler'));
  });

  it('counts for operators what was asked for', async () => {
    const metrics = await (await fetch(`${system.auditorUrl}/metrics`)).text();
    for (const kind of ['lora-training', 'lora-inference']) {
      const labels = `kind="${kind}",engine="ref-sep-v1",outcome="submitted",service="auditor"`;
      const [, count] = new RegExp(`auditor_canaries_total\\{${labels}\\} (\\d+)`).exec(metrics) ?? [];
      expect(Number(count)).toBeGreaterThanOrEqual(FLOOR);
    }
  });

  it('asks for what the one client asked for, in other pictures and words', async () => {
    const inputs = await rows<{ numbers: string; prompt: string | null; own: boolean }>(
      `SELECT concat_ws(' ', input->>'resolution', input->>'steps', input->>'rank', input->>'width', input->>'height') AS numbers,
              input->>'prompt' AS prompt, idempotency_key IS NOT NULL AND client_id::text LIKE '00000000%' AS own
         FROM studio.jobs`,
    );
    const own = inputs.filter((input) => input.own);
    expect(own.length).toBeGreaterThanOrEqual(2 * 2 * FLOOR);
    const copied = own.filter(({ numbers }) => numbers === '32 40 8' || numbers === '40 32');
    // Those that came before the example have the defaults.
    expect(copied.length).toBeGreaterThan(own.length / 2);
    expect(own.filter(({ prompt }) => prompt?.includes('the only one'))).toEqual([]);
  });
});
