import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Adapter } from '@studio/ref-sep/adapter';
import { cosine } from '@studio/ref-sep/adapter-similarity';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import { trainAdapter } from '@studio/ref-sep/train';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { someLora, someTraining } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier } from '@studio/shared/testing/stand-ins';
import { AdapterStore } from './adapter.store';
import { replaysOn } from './audit.rig';
import { CommitmentStore } from './commitment.store';
import { CopyRule } from './copy-rule';
import { DrawStore } from './draw.store';
import { Intake } from './intake';

const SIDE = 32;
const nothing = () => undefined;
const log = { info: nothing, warn: nothing };
/** No draws at all: only the rule itself leads to audits. */
const POLICY = {
  ...TEST_POLICY,
  audit: { ...TEST_POLICY.audit, probationJobs: 0, baseRate: 0, trustedRate: 0 },
};

interface Photograph {
  png: Buffer;
  pixels: Uint8Array;
}

async function photograph(name: string, reencode?: 'jpeg'): Promise<Photograph> {
  const source = sharp(join(__dirname, '../../../photos', name))
    .resize(SIDE, SIDE, { fit: 'cover' })
    .removeAlpha();
  const png = reencode ? await source.jpeg({ quality: 80 }).toBuffer() : await source.png().toBuffer();
  const pixels = await sharp(png).removeAlpha().raw().toBuffer();
  return { png: await sharp(png).png().toBuffer(), pixels };
}

async function trained({ pixels }: Photograph): Promise<Adapter> {
  return trainAdapter({ width: SIDE, height: SIDE, rgb: pixels, steps: 120, rank: 8, seed: 7 });
}

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

describe('the rule against copied adapters', () => {
  let ground: AuditGround;
  let directory: string;
  let artifacts: FileArtifactStore;
  let intake: Intake;
  let rule: CopyRule;
  let cat: Photograph;
  let cup: Photograph;
  let catAgain: Photograph;
  let ofCat: Adapter;
  let ofCup: Adapter;

  const newRule = (): CopyRule => new CopyRule(new AdapterStore(ground.source), artifacts, log, nothing, nothing);
  const stored = async (adapter: Adapter) => {
    const { tensors, metadata } = adapterToTensors(adapter);
    const file = writeSafetensors(tensors, metadata);
    const { sha256 } = await artifacts.put(file, { contentType: 'application/octet-stream', maxBytes: 1e7 });
    return { lora: someLora(sha256, sha256) };
  };
  const delivered = async (hotkey: string, photo: Photograph, adapter: Adapter, finishedAgoS = 0): Promise<string> => {
    const { sha256 } = await artifacts.put(photo.png, { contentType: 'image/png', maxBytes: 1e7 });
    const job = await ground.jobs.finish({
      hotkey,
      kind: 'lora-training',
      input: someTraining(sha256, sha256),
      result: await stored(adapter),
      finishedAgoS,
    });
    while (await intake.run());
    return job;
  };
  const auditOf = async (jobId: string) =>
    (
      await ground.query<{ why: string; suspicion: { copyOf: string; cosine: number } }>(
        'SELECT why, suspicion FROM studio.audits WHERE job_id = $1',
        [jobId],
      )
    )[0];

  beforeAll(async () => {
    [cat, cup, catAgain] = await Promise.all([
      photograph('chelsea.png'),
      photograph('coffee.png'),
      photograph('chelsea.png', 'jpeg'),
    ]);
    [ofCat, ofCup] = [await trained(cat), await trained(cup)];
  });
  beforeEach(async () => {
    ground = await openAuditGround();
    directory = await mkdtemp(join(tmpdir(), 'copy-rule-'));
    artifacts = new FileArtifactStore(directory);
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(POLICY);
    await ground.jobs.openEpoch(1, POLICY);
    let now = 0;
    intake = new Intake(new DrawStore(ground.source), nothing, () => (now += 10_000));
    rule = newRule();
  });
  afterEach(async () => {
    await ground.close();
    await rm(directory, { recursive: true });
  });

  it('suspects an adapter that was delivered for another photograph before, however it is rescaled', async () => {
    const original = await delivered('honest', cat, ofCat, 10);
    const copy = await delivered('thief', cup, rescaled(ofCat), 5);
    while (await rule.run());
    expect(await auditOf(original)).toBeUndefined();
    const audit = await auditOf(copy);
    expect(audit).toMatchObject({ why: 'copy', suspicion: { copyOf: original } });
    expect(audit?.suspicion.cosine).toBeCloseTo(1, 5);
    expect(await ground.query('SELECT 1 FROM studio.adapters WHERE checked_at IS NULL')).toEqual([]);
  });

  it('leaves honest trainings of different photographs alone', async () => {
    expect(Math.abs(cosine(ofCat, ofCup))).toBeLessThan(POLICY.audit.copyCosine);
    const jobs = [await delivered('honest', cat, ofCat), await delivered('other', cup, ofCup)];
    while (await rule.run());
    expect(await Promise.all(jobs.map(auditOf))).toEqual([undefined, undefined]);
  });

  it('does not suspect whoever trained on the same photograph, even re-encoded', async () => {
    const ofCatAgain = await trained(catAgain);
    // Near enough that only the photographs tell it from a copy.
    const jobs = [await delivered('one', cat, ofCat), await delivered('two', cat, ofCat)];
    jobs.push(await delivered('three', catAgain, ofCatAgain), await delivered('four', catAgain, ofCat));
    while (await rule.run());
    expect(await Promise.all(jobs.map(auditOf))).toEqual(jobs.map(() => undefined));
  });

  it('suspects the later of the two, in whatever order they are taken in', async () => {
    const copy = await delivered('thief', cup, ofCat, 1);
    const original = await delivered('honest', cat, ofCat, 9);
    while (await rule.run());
    expect(await auditOf(original)).toBeUndefined();
    expect(await auditOf(copy)).toMatchObject({ suspicion: { copyOf: original } });
  });

  it('finds the same after a restart, and across replicas of which each checks some', async () => {
    const original = await delivered('honest', cat, ofCat, 9);
    await rule.run();
    const other = newRule();
    await other.run();
    const copy = await delivered('thief', cup, ofCat, 1);
    await newRule().run();
    expect(await auditOf(copy)).toMatchObject({ why: 'copy', suspicion: { copyOf: original } });
    await Promise.all([rule.run(), other.run()]);
    expect(await ground.query('SELECT 1 FROM studio.audits')).toHaveLength(1);
  });

  it.each([
    ['convicts a copy, and names what it was copied from', () => ofCup, 'invalid'],
    ['clears a suspect whose result the reference gets as well', () => ofCat, 'valid'],
  ])('lets the replay decide: it %s', async (_title, truth, outcome) => {
    await ground.jobs.miner('reference', { trusted: true });
    const result = await stored(truth());
    const querier = new StandInQuerier(ground.nats, ground.jobs, () => ({ hotkey: 'reference', result }));
    const original = await delivered('honest', cat, ofCat, 9);
    const suspect = await delivered('suspect', cup, ofCat, 1);
    while (await rule.run());
    const replays = replaysOn(ground);
    for (let run = 0; run < 4; run += 1) {
      await replays.run();
      while (await intake.run());
    }
    querier.close();
    const [verdict] = await ground.query<{ outcome: string; reason: string }>(
      'SELECT outcome, reason FROM studio.verdicts WHERE job_id = $1',
      [suspect],
    );
    expect(verdict?.outcome).toBe(outcome);
    const named = `copy of the adapter of job ${original}, which was trained on another photograph (cosine 1.0000): LoRA`;
    expect(verdict?.reason.includes(named)).toBe(outcome === 'invalid');
  });

  it('goes on when a file is missing or is no adapter', async () => {
    const lost = { lora: someLora() };
    await ground.jobs.finish({ hotkey: 'lost', kind: 'lora-training', result: lost });
    const { sha256 } = await artifacts.put(Buffer.from('no adapter'), { contentType: 'x/y', maxBytes: 100 });
    await ground.jobs.finish({ hotkey: 'odd', kind: 'lora-training', result: { lora: someLora(sha256, sha256) } });
    while (await intake.run());
    while (await rule.run());
    expect(await ground.query('SELECT 1 FROM studio.adapters WHERE checked_at IS NULL')).toEqual([]);
  });
});

/** A → 3A, B → B/3: every byte of the factors changes, ΔW does not. */
function rescaled(adapter: Adapter): Adapter {
  const { tensors } = adapterToTensors({ ...adapter, parameters: adapter.parameters.slice() });
  for (const [name, { data }] of tensors) {
    const factor = name.endsWith('lora_A.weight') ? 3 : name.endsWith('lora_B.weight') ? 1 / 3 : 1;
    data.forEach((value, index) => (data[index] = value * factor));
  }
  const first = [...tensors.values()][0];
  if (!first) throw new Error('an adapter has tensors');
  return { ...adapter, parameters: new Float32Array(first.data.buffer) };
}
