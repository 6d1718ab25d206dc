/** Real draws, by a real auditor, published by a real registry: whoever verifies them finds them right, and every change wrong. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import { Commitments } from '@studio/validator/commitments';
import { Cursor } from '@studio/validator/cursor';
import { RegistryClient } from '@studio/validator/registry-client';
import { run } from '@studio/validator/validator';
import { verifyDrawsCommand } from '@studio/validator/verify-draws/command';
import type { DrawReport } from '@studio/validator/verify-draws/verify-epoch';
import { AuditedEpochs, CHEAT } from './audited-epochs';

jest.setTimeout(120_000);

let epochs: AuditedEpochs;
const stopping = new AbortController();
let following: Promise<void>;

beforeAll(async () => {
  epochs = await AuditedEpochs.open();
  following = follow();
});

afterAll(async () => {
  stopping.abort();
  await following;
  await epochs.end();
});

const stateDir = (): string => join(epochs.dir, 'validator-state');

/** A validator that runs all the while, and sees each epoch's commitment while the epoch is open. */
async function follow(): Promise<void> {
  const say = (): void => undefined;
  const sources = { registry: new RegistryClient(epochs.registry.url), say, signal: stopping.signal };
  const cursor = await Cursor.open(stateDir(), say);
  await run(cursor, sources, { path: join(epochs.dir, 'weights.json') }, await Commitments.open(stateDir(), say));
}

interface Outcome {
  status: number;
  printed: string;
  told: string;
}

async function command(...argv: string[]): Promise<Outcome> {
  const outcome = { printed: '', told: '' };
  const status = await verifyDrawsCommand(['--data-dir', join(epochs.dir, 'nothing'), ...argv], {
    print: (text) => (outcome.printed += text),
    tell: (text) => (outcome.told += text),
  });
  return { status, ...outcome };
}

const verify = (epoch: number, ...argv: string[]): Promise<Outcome> =>
  command('--registry', epochs.registry.url, '--state-dir', stateDir(), '--epoch', String(epoch), ...argv);

async function reportOn(epoch: number): Promise<DrawReport> {
  return JSON.parse((await verify(epoch, '--json')).printed) as DrawReport;
}

const failed = ({ checks }: DrawReport) => checks.filter(({ failures }) => failures > 0).map(({ name }) => name);

async function headerOf(epoch: number): Promise<DrawExportHeader> {
  const text = await (await fetch(`${epochs.registry.url}/v1/epochs/${epoch}/draws`)).text();
  return JSON.parse(text.split('\n')[0]!) as DrawExportHeader;
}

describe('the draws of a first epoch, in which a miner is quarantined', () => {
  beforeAll(async () => {
    await epochs.finish('ada', 25);
    await epochs.finish('ben', 3);
    await epochs.finish('cheat', 4, CHEAT);
    await epochs.settled();
    // Its record has begun anew.
    await epochs.finish('cheat', 2, CHEAT);
    await epochs.finish('ben', 4);
    await epochs.settled();
    await epochs.close(1);
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
    const path = join(epochs.dir, 'draws-1.ndjson');
    await writeFile(path, await (await fetch(`${epochs.registry.url}/v1/epochs/1/draws`)).text());
    const { status, printed } = await command('--file', path);
    expect([status, printed]).toEqual([0, expect.stringContaining('verify, as far as they were checked')]);
    expect((await command('--file', path, '--registry', epochs.registry.url)).printed).toContain('verify (');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(/"u":"\d+"/, '"u":"7"'));
    const changed = await command('--file', path);
    expect([changed.status, changed.printed]).toEqual([1, expect.stringContaining('do NOT verify')]);
  });
});

describe('the draws of a second epoch, in which the quarantine is lifted', () => {
  beforeAll(async () => {
    await epochs.finish('ada', 6);
    await epochs.finish('cheat', 1);
    await epochs.settled();
    const amnesty = { from: '2000-01-01T00:00:00Z', until: '2100-01-01T00:00:00Z', reason: 'the reference was wrong' };
    expect((await epochs.ofAuditor('amnesties', amnesty)).ok).toBe(true);
    await epochs.settled();
    await epochs.finish('cheat', 2);
    await epochs.settled();
    await epochs.close(2);
  });

  it('verify, the jump of the record explained by the correction', async () => {
    expect(failed(await reportOn(2))).toEqual([]);
    expect((await headerOf(2)).rewrites).toContainEqual(
      expect.objectContaining({ hotkey: 'cheat', why: 'correction' }),
    );
  });

  it('of the newest closed epoch are verified unless another is named', async () => {
    const { status, printed } = await command('--registry', epochs.registry.url);
    expect([status, printed]).toEqual([0, expect.stringContaining('the draws of epoch 2 verify')]);
  });

  it('are read from the registry that `npm start` runs, where none is named', async () => {
    const dataDir = join(epochs.dir, 'data');
    await mkdir(dataDir);
    await writeFile(
      join(dataDir, 'installation.json'),
      JSON.stringify({ ports: { registry: Number(new URL(epochs.registry.url).port) } }),
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
    const { rows } = await epochs.ground.owner.query<{ id: string }>(
      `SELECT job_id AS id FROM studio.draws WHERE epoch = 1 AND hotkey = 'ada' AND record @> '{"jobsSeen":0}'`,
    );
    const update = (set: string) =>
      epochs.ground.owner.query(`UPDATE studio.draws SET ${set} WHERE job_id = $1`, [rows[0]?.id]);
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
    const at = ['--registry', epochs.registry.url];
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
    expect(await command('--file', join(epochs.dir, 'none'))).toEqual(sentence('there is no file'));
    expect(await command('--file', join(epochs.dir, 'weights.json'))).toEqual(sentence('is no export of draws'));
  });

  it('includes a file that was cut off, and one of another epoch', async () => {
    const text = await (await fetch(`${epochs.registry.url}/v1/epochs/1/draws`)).text();
    const path = join(epochs.dir, 'cut.ndjson');
    await writeFile(path, text.slice(0, -100));
    expect(await command('--file', path)).toEqual(sentence('it is cut off; read it again from the registry'));
    await writeFile(path, text);
    expect(await command('--file', path, '--epoch', '2')).toEqual(sentence('holds the draws of epoch 1, not of 2'));
  });
});
