/** Real draws, by a real auditor, published by a real registry: whoever verifies them finds them right, and every change wrong. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot as bootAuditor, type RunningAuditor } from '@studio/auditor/boot';
import { AuditorEnv } from '@studio/auditor/env';
import { boot as bootRegistry, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { FinishedJobs, imageResult } from '@studio/shared/testing/finished-jobs';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { StandInQuerier } from '@studio/shared/testing/stand-ins';
import { Commitments } from '@studio/validator/commitments';
import { Cursor } from '@studio/validator/cursor';
import { RegistryClient } from '@studio/validator/registry-client';
import { run } from '@studio/validator/validator';
import { verifyDrawsCommand } from '@studio/validator/verify-draws/command';
import type { DrawReport } from '@studio/validator/verify-draws/verify-epoch';

jest.setTimeout(120_000);

const HONEST = imageResult('a'.repeat(64));
const CHEAT = imageResult('b'.repeat(64));
const AUDITOR_KEY = randomBytes(32).toString('hex');

let ground: RegistryGround;
let jobs: FinishedJobs;
let querier: StandInQuerier;
let auditor: RunningAuditor;
let registry: RunningRegistry;
let dir: string;
const stopping = new AbortController();
let following: Promise<void>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'verify-draws-'));
  ground = await RegistryGround.open(fetch);
  jobs = new FinishedJobs(ground.database);
  querier = new StandInQuerier(ground.nats.connection, jobs, ({ routing }) => ({
    hotkey: routing.onlyHotkey ?? 'peer',
    result: HONEST,
  }));
  const log = createLogger({ name: 'test', level: 'silent', format: 'json' });
  const auditorEnv = {
    POSTGRES_URL: ground.database.urls.auditor,
    NATS_URL: ground.nats.url,
    HTTP_PORT: '0',
    ADMIN_KEY: AUDITOR_KEY,
    ARTIFACTS_DIR: dir,
    SWEEP_MS: '50',
  };
  registry = await bootRegistry(loadEnv(RegistryEnv, ground.env({ POLICY: 'demo' })), log);
  auditor = await bootAuditor(loadEnv(AuditorEnv, auditorEnv), log);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
  for (const [hotkey, trusted] of [
    ['reference', true],
    ['peer', false],
    ['ada', false],
    ['ben', false],
    ['cheat', false],
  ] as const) {
    await jobs.miner(hotkey, { trusted });
  }
  following = follow();
});

afterAll(async () => {
  stopping.abort();
  await following;
  await Promise.all([auditor.close(), registry.close()]);
  querier.close();
  await jobs.close();
  await ground.close();
  await rm(dir, { recursive: true });
});

const stateDir = (): string => join(dir, 'validator-state');

/** A validator that runs all the while, and sees each epoch's commitment while the epoch is open. */
async function follow(): Promise<void> {
  const say = (): void => undefined;
  const sources = { registry: new RegistryClient(registry.url), say, signal: stopping.signal };
  const cursor = await Cursor.open(stateDir(), say);
  await run(cursor, sources, { path: join(dir, 'weights.json') }, await Commitments.open(stateDir(), say));
}

const ofAuditor = (path: string, body?: object): Promise<Response> =>
  fetch(`${auditor.url}/admin/v1/${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${AUDITOR_KEY}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });

/** Until every job is in the books, every audit decided and every entry in the ledger. */
async function settled(): Promise<void> {
  await until(async () => {
    const figures = (await (await ofAuditor('readiness')).json()) as Record<string, number>;
    return ['untaken_jobs', 'audits_open', 'outbox_open'].every((name) => figures[name] === 0);
  });
}

async function finish(hotkey: string, count: number, result = HONEST): Promise<void> {
  for (let n = 0; n < count; n += 1) await jobs.finish({ hotkey, result });
}

async function close(epoch: number): Promise<void> {
  const reply = await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  expect(await reply.json()).toEqual({ closing: epoch, open: epoch + 1 });
  await until(async () => (await fetch(`${registry.url}/v1/snapshots/${epoch}`)).ok);
}

interface Outcome {
  status: number;
  printed: string;
  told: string;
}

async function command(...argv: string[]): Promise<Outcome> {
  const outcome = { printed: '', told: '' };
  const status = await verifyDrawsCommand(['--data-dir', join(dir, 'nothing'), ...argv], {
    print: (text) => (outcome.printed += text),
    tell: (text) => (outcome.told += text),
  });
  return { status, ...outcome };
}

const verify = (epoch: number, ...argv: string[]): Promise<Outcome> =>
  command('--registry', registry.url, '--state-dir', stateDir(), '--epoch', String(epoch), ...argv);

async function reportOn(epoch: number): Promise<DrawReport> {
  return JSON.parse((await verify(epoch, '--json')).printed) as DrawReport;
}

const failed = ({ checks }: DrawReport) => checks.filter(({ failures }) => failures > 0).map(({ name }) => name);

async function headerOf(epoch: number): Promise<DrawExportHeader> {
  const text = await (await fetch(`${registry.url}/v1/epochs/${epoch}/draws`)).text();
  return JSON.parse(text.split('\n')[0]!) as DrawExportHeader;
}

describe('the draws of a first epoch, in which a miner is quarantined', () => {
  beforeAll(async () => {
    await finish('ada', 25);
    await finish('ben', 3);
    await finish('cheat', 4, CHEAT);
    await settled();
    // Its record has begun anew.
    await finish('cheat', 2, CHEAT);
    await finish('ben', 4);
    await settled();
    await close(1);
  });

  it('verify, everything looked at', async () => {
    const report = await reportOn(1);
    expect(failed(report)).toEqual([]);
    expect(report).toMatchObject({ epoch: 1, ok: true });
    expect(report.rows).toBeGreaterThanOrEqual(38);
    expect(report.checks.filter(({ looked, skipped }) => looked === 0 || skipped !== undefined)).toEqual([]);
    expect((await headerOf(1)).rewrites).toMatchObject([{ hotkey: 'cheat', why: 'quarantine' }]);
  });

  it('are told in a table that says where the commitment was kept', async () => {
    const { status, printed } = await verify(1);
    expect([status, printed]).toEqual([0, expect.stringContaining('the draws of epoch 1 verify')]);
    expect(printed).toContain('also as kept in');
    const given = await verify(1, '--commitment', 'ab'.repeat(32));
    expect([given.status, given.printed]).toEqual([1, expect.stringContaining(`--commitment has ${'ab'.repeat(32)}`)]);
  });

  it('verify from a file alone, which says what was not checked', async () => {
    const path = join(dir, 'draws-1.ndjson');
    await writeFile(path, await (await fetch(`${registry.url}/v1/epochs/1/draws`)).text());
    const { status, printed } = await command('--file', path);
    expect([status, printed]).toEqual([0, expect.stringContaining('verify, as far as they were checked')]);
    expect((await command('--file', path, '--registry', registry.url)).printed).toContain('verify (');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(/"u":"\d+"/, '"u":"7"'));
    const changed = await command('--file', path);
    expect([changed.status, changed.printed]).toEqual([1, expect.stringContaining('do NOT verify')]);
  });
});

describe('the draws of a second epoch, in which the quarantine is lifted', () => {
  beforeAll(async () => {
    await finish('ada', 6);
    await finish('cheat', 1);
    await settled();
    const amnesty = { from: '2000-01-01T00:00:00Z', until: '2100-01-01T00:00:00Z', reason: 'the reference was wrong' };
    expect((await ofAuditor('amnesties', amnesty)).ok).toBe(true);
    await settled();
    await finish('cheat', 2);
    await settled();
    await close(2);
  });

  it('verify, the jump of the record explained by the correction', async () => {
    expect(failed(await reportOn(2))).toEqual([]);
    expect((await headerOf(2)).rewrites).toContainEqual(
      expect.objectContaining({ hotkey: 'cheat', why: 'correction' }),
    );
  });

  it('of the newest closed epoch are verified unless another is named', async () => {
    const { status, printed } = await command('--registry', registry.url);
    expect([status, printed]).toEqual([0, expect.stringContaining('the draws of epoch 2 verify')]);
  });

  it('are read from the registry that `npm start` runs, where none is named', async () => {
    const dataDir = join(dir, 'data');
    await mkdir(dataDir);
    await writeFile(
      join(dataDir, 'installation.json'),
      JSON.stringify({ ports: { registry: Number(new URL(registry.url).port) } }),
    );
    const { status, told } = await command('--data-dir', dataDir, '--epoch', '1');
    expect([status, told]).toEqual([0, expect.stringContaining(`the registry of ${dataDir}`)]);
  });
});

describe('draws that were changed afterwards', () => {
  it.each([
    ['u', 'u = u - 1', 'u = u + 1', ['u']],
    ['points', 'points = points + 1', 'points = points - 1', ['awards']],
    ['the miner', `hotkey = 'ben'`, `hotkey = 'ada'`, ['awards', 'record']],
    ['the draw', 'drawn = NOT drawn', 'drawn = NOT drawn', ['audited', 'drawn']],
    ['the record', `record = record || '{"jobsSeen":50}'`, `record = record || '{"jobsSeen":0}'`, ['q', 'record']],
    ['the epoch', 'epoch = 2', 'epoch = 1', ['awards']],
  ])('in %s do not verify', async (_what, change, restore, checks) => {
    const { rows } = await ground.owner.query<{ id: string }>(
      `SELECT job_id AS id FROM studio.draws WHERE epoch = 1 AND hotkey = 'ada' AND record @> '{"jobsSeen":0}'`,
    );
    const update = (set: string) =>
      ground.owner.query(`UPDATE studio.draws SET ${set} WHERE job_id = $1`, [rows[0]?.id]);
    await update(change);
    const found = failed(await reportOn(1));
    await update(restore);
    expect(found).toEqual(expect.arrayContaining(checks));
    expect(failed(await reportOn(1))).toEqual([]);
  });

  it('do not verify against what a validator saw while the epoch was open', async () => {
    const path = join(stateDir(), 'commitments.json');
    const kept = await readFile(path, 'utf8');
    await writeFile(path, kept.replace((await headerOf(1)).commitment, 'cd'.repeat(32)));
    const { status, printed } = await verify(1);
    await writeFile(path, kept);
    expect([status, printed]).toEqual([1, expect.stringContaining(`${stateDir()} has ${'cd'.repeat(32)}`)]);
  });
});

describe('what cannot be read', () => {
  const sentence = (text: string) => ({ status: 2, printed: '', told: expect.stringContaining(text) as string });

  it('is told in one sentence with the remedy, and ends with status 2', async () => {
    const at = ['--registry', registry.url];
    expect(await command(...at, '--epoch', '3')).toEqual(
      sentence('epoch 3 is open: its draws are published once it is closed'),
    );
    expect(await command(...at, '--epoch', '99')).toEqual(sentence('there is no epoch 99'));
    expect(await command(...at, '--epoch', 'soon')).toEqual(sentence('expected the number of an epoch, or latest'));
    expect(await command(...at, '--commitment', 'ab')).toEqual(sentence('expected 64 hex digits'));
    expect(await command('--registry', 'ftp://x')).toEqual(sentence('expected a URL'));
    expect(await command('--epoch', '1')).toEqual(sentence('give one with --registry, or a --file'));
    expect(await command('--registry', 'http://127.0.0.1:9', '--epoch', '1')).toEqual(sentence('does not answer'));
    expect(await command('--registry', 'http://127.0.0.1:9')).toEqual(sentence('give another with --registry'));
    expect(await command('--file', join(dir, 'none'))).toEqual(sentence('there is no file'));
    expect(await command('--file', join(dir, 'weights.json'))).toEqual(sentence('is no export of draws'));
  });

  it('includes a file that was cut off, and one of another epoch', async () => {
    const text = await (await fetch(`${registry.url}/v1/epochs/1/draws`)).text();
    const path = join(dir, 'cut.ndjson');
    await writeFile(path, text.slice(0, -100));
    expect(await command('--file', path)).toEqual(sentence('it is cut off; read it again from the registry'));
    await writeFile(path, text);
    expect(await command('--file', path, '--epoch', '2')).toEqual(sentence('holds the draws of epoch 1, not of 2'));
  });
});
