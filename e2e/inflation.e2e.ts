import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import { RegistryClient } from '@studio/miner/registry-client';
import { imagePart } from '@studio/shared/contract/miner-job';
import type { SubmitJobBody } from '@studio/shared/contract/submit-job';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { until } from '@studio/shared/testing/registry-ground';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import { resultForm, startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import { LiveSystem } from './live-system';

jest.setTimeout(120_000);
// These contests run in real time: a machine that stands still for a second spoils one. A rule that is broken loses every time.
jest.retryTimes(2, { logErrorsBeforeRetry: true });

/** Every job is audited, at once; jobs come by turns, not by free slots; and nobody waits for the other's neglect. */
const POLICY: Policy = {
  ...DEMO_POLICY,
  version: 9_001,
  audit: { ...DEMO_POLICY.audit, probationJobs: 1_000, meanDelayMs: 20, canary: { floorPerEpoch: 0, knownShare: 0 } },
  routing: { ...DEMO_POLICY.routing, rampStart: 20, exploreAfterMs: 600_000, loraLeadTurns: -1, hedgeBudget: 0 },
};
const SLOTS = 20;
const SIDE = 64;

let directory: string;
let system: LiveSystem;
let loraUrl: string;
let miners: Map<string, StubMiner>;

beforeAll(() => (directory = mkdtempSync(join(tmpdir(), 'inflation-'))));
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(async () => {
  await system?.close();
  await Promise.all([...miners.values()].map((miner) => miner.close()));
});

async function open(policy: Policy, env: Record<string, string> = {}): Promise<void> {
  miners = new Map();
  system = await LiveSystem.open(policy, [], undefined, env);
  ({ url: loraUrl } = await system.api.upload(someAdapter(4, SIDE), 'application/octet-stream'));
}

/** Who a miner of this name will be. */
const hotkeyOf = (name: string): string => hotkeyFromSeed(sha256Hex(name)).address;

/** Registers a miner that gives the same picture for every job, as they all do. */
async function enter(name: string): Promise<void> {
  const miner = await startStubMiner(name, SLOTS);
  miner.answer = paints(await painted(1));
  miners.set(name, miner);
  const { endpoint, dialect } = miner.routable;
  const offers = [{ kind: 'lora-inference', engine: 'ref-sep-v1', slots: SLOTS }] as const;
  const registry = new RegistryClient(system.registry.url, miner.key);
  await registry.register({ endpoint, dialect, offers: [...offers], operator: name }, await registry.identity());
}

function paints(picture: Buffer): StubMiner['answer'] {
  return (request) => ({ status: 200, form: resultForm(request, { [imagePart(0)]: picture }) });
}

function painted(step: number): Promise<Buffer> {
  const pixels = Buffer.from(Array.from({ length: SIDE * SIDE * 3 }, (_, i) => (i * 7_919 * step) % 251));
  return sharp(pixels, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}

const rendering = (more: Partial<SubmitJobBody> = {}): SubmitJobBody => ({
  kind: 'lora-inference',
  engine: 'ref-sep-v1',
  input: { lora_url: loraUrl, prompt: 'the same again', width: SIDE, height: SIDE, seed: 1 },
  ...more,
});

/** Hands in renderings one after the other and waits until they are done and in the books. */
async function render(count: number, everyMs = 0): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    ids.push((await system.api.submit(rendering(), randomUUID())).id);
    await sleep(everyMs);
  }
  const jobs = await Promise.all(ids.map((id) => system.api.finished(id)));
  expect(jobs.map(({ state }) => state)).toEqual(Array(count).fill('succeeded'));
  await system.settle();
  return ids;
}

interface Account {
  awards: number;
  awarded: number;
  left: number;
  verdicts: string[];
  reasons: string[];
}

/** Of all its jobs, or of these. */
async function accountOf(name: string, jobs: readonly string[] | null = null): Promise<Account> {
  const which = [hotkeyOf(name), jobs];
  const { rows } = await system.owner.query<{ type: string; points: string; reason: string }>(
    `SELECT type, points, reason FROM studio.ledger WHERE hotkey = $1 AND ($2::uuid[] IS NULL OR job_id = ANY($2))`,
    which,
  );
  const verdicts = await system.owner.query<{ outcome: string }>(
    `SELECT outcome FROM studio.verdicts WHERE hotkey = $1 AND ($2::uuid[] IS NULL OR job_id = ANY($2))`,
    which,
  );
  const awards = rows.filter(({ type }) => type === 'award');
  const sum = (of: typeof rows): number => of.reduce((all, { points }) => all + Number(points), 0) / 1e6;
  return {
    awards: awards.length,
    awarded: sum(awards),
    left: sum(rows),
    verdicts: verdicts.rows.map(({ outcome }) => outcome),
    reasons: awards.map(({ reason }) => reason),
  };
}

function print(title: string, rows: readonly (readonly (string | number)[])[], head: string[]): void {
  const drawn = new Table({ head, style: { head: [], border: [] } });
  drawn.push(...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? cell.toFixed(3) : cell))));
  process.stdout.write(`${title}\n${drawn.toString()}\n`);
}

describe('jobs that a miner sends to itself', () => {
  const NAMES = ['mallory', 'ann', 'bob', 'cleo'];

  async function show(title: string, jobs: readonly string[] | null): Promise<Map<string, Account>> {
    const accounts = new Map<string, Account>();
    for (const name of NAMES) if (miners.has(name)) accounts.set(name, await accountOf(name, jobs));
    const rows = [...accounts].map(([name, { awards, awarded, left, verdicts }]) => [name, String(awards), awarded, left, [...new Set(verdicts)].join(', ')]); // prettier-ignore
    print(title, rows, ['miner', 'jobs', 'awarded', 'left', 'verdicts']);
    return accounts;
  }

  it('bring nothing where nobody could check them, and where others can they are paid, compared and taken back', async () => {
    await open(POLICY);
    for (const name of ['mallory', 'ann', 'bob']) await enter(name);
    const alone = await show('Without a reference, with two other operators', await render(6));
    for (const { awards, awarded, reasons } of alone.values()) {
      expect([awards > 0, awarded]).toEqual([true, 0]);
      for (const reason of reasons) expect(reason).toMatch(/unpaid: nobody could check it: .* 2 other operators of 3/);
    }
    // Nor may a client ask for a job that only a reference may see.
    await expect(system.api.submit(rendering({ private: true }), randomUUID())).rejects.toThrow(/private/);

    await enter('cleo');
    // The auditor knows of her after some seconds at the latest.
    await until(async () => (await accountOf('ann', await render(4))).awarded > 0);
    // Now that there is something to be had, she saves the work.
    miners.get('mallory')!.answer = paints(await painted(2));
    const jobs = await render(12);
    const paid = await show('With three other operators, before the epoch’s close', jobs);
    for (const [name, { awarded, verdicts }] of paid) {
      expect(awarded).toBeGreaterThan(0);
      expect(verdicts.includes('invalid')).toBe(name === 'mallory');
    }
    await system.closeEpoch(1);
    const closed = await show('The same after it', jobs);
    expect(closed.get('mallory')!.left).toBe(0);
    for (const name of ['ann', 'bob', 'cleo']) expect(closed.get(name)!.left).toBe(paid.get(name)!.awarded);
  });
});

describe('ten hotkeys of one coldkey', () => {
  const [TEN, HONEST] = [10, 4];
  const ten = Array.from({ length: TEN }, (_, n) => `twin ${n + 1}`);
  const honest = Array.from({ length: HONEST }, (_, n) => `honest ${n + 1}`);

  it('share the turns of one operator, whatever operators they name, and hotkeys outside the metagraph have no part', async () => {
    const path = join(directory, 'metagraph.json');
    const neurons = [...ten, ...honest].map((name, uid) => {
      const coldkey = hotkeyOf(ten.includes(name) ? 'the coldkey of the ten' : `the coldkey of ${name}`);
      return { hotkey: hotkeyOf(name), uid, coldkey, stake: '1' };
    });
    writeFileSync(path, JSON.stringify({ block: 1, neurons }));
    const audit = { ...POLICY.audit, probationJobs: 0, baseRate: 0, trustedRate: 0, floorPerEpoch: 0 };
    await open({ ...POLICY, version: 9_002, audit }, { METAGRAPH: 'file', METAGRAPH_FILE: path });
    await until(async () => (await system.owner.query('SELECT 1 FROM studio.metagraph')).rowCount === 1);
    // Each says that it is somebody else's.
    for (const name of [...ten, ...honest]) await enter(name);
    await expect(enter('outsider')).rejects.toThrow(/not in the metagraph/);

    const jobs = await render(50, 50);
    const { miners: scored } = await system.closeEpoch(1);
    const weight = (name: string): number => scored.find(({ hotkey }) => hotkey === hotkeyOf(name))?.weight ?? 0;
    const rowOf = async (title: string, names: readonly string[]): Promise<[string, number, number]> => {
      const accounts = await Promise.all(names.map((name) => accountOf(name, jobs)));
      return [title, accounts.reduce((sum, { left }) => sum + left, 0), names.reduce((sum, name) => sum + weight(name), 0)]; // prettier-ignore
    };
    const together = await rowOf('the ten together', ten);
    const others = await Promise.all(honest.map((name) => rowOf(name, [name])));
    print('Ten hotkeys of one coldkey among four operators', [together, ...others], ['', 'points', 'weight']);
    const mean = (column: 1 | 2): number => others.reduce((sum, row) => sum + row[column], 0) / HONEST;
    expect(together[1]).toBeLessThan(1.4 * mean(1));
    expect(together[2]).toBeLessThan(mean(2));
    expect(miners.get('outsider')!.asked).toEqual([]);
    expect(scored.map(({ hotkey }) => hotkey)).not.toContain(hotkeyOf('outsider'));
  });
});
