import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Adapter } from '@studio/ref-sep/adapter';
import { renderImage } from '@studio/ref-sep/render';
import { trainAdapter } from '@studio/ref-sep/train';
import { dctHash } from '@studio/shared/domain/dct-hash';
import type { ImageRef, InferenceInput, LoraRef } from '@studio/shared/domain/job';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { someInference, someLora, someTraining } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier } from '@studio/shared/testing/stand-ins';
import { replaysOn } from './audit.rig';
import type { PictureSuspicion } from './audit-case';
import { ClosingStore } from './closing.store';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { Intake } from './intake';
import { Photographs } from './photographs';
import { PictureRule, SIZES } from './picture-rule';
import { PictureStore } from './picture.store';

const SIDE = 32;
const nothing = () => undefined;
/** No draws at all: only the rule itself leads to audits. */
const POLICY = {
  ...TEST_POLICY,
  audit: { ...TEST_POLICY.audit, probationJobs: 0, baseRate: 0, trustedRate: 0 },
};

type Pixels = Uint8Array;
interface Trained {
  adapter: Adapter;
  lora: LoraRef;
  photograph: Pixels;
}
interface Delivery {
  finishedAgoS?: number;
  requestKey?: string;
  /** As rows were before hashes were kept. */
  unhashed?: boolean;
}

async function photographOf(name: string): Promise<Pixels> {
  const source = sharp(join(__dirname, '../../../photos', name)).resize(SIDE, SIDE, { fit: 'cover' });
  return source.removeAlpha().raw().toBuffer();
}

async function trained(photograph: Pixels, steps: number): Promise<Trained> {
  const task = { width: SIDE, height: SIDE, rgb: photograph, steps, rank: 8, seed: 7 };
  return { adapter: await trainAdapter(task), lora: someLora(), photograph };
}

/** One picture for each seed, as a miner renders them. */
function rendered(
  { adapter }: Trained,
  { prompt, width, height, seed, loraScale, warp, numImages }: InferenceInput,
): Pixels[] {
  return Array.from({ length: numImages }, (_, i) =>
    renderImage({ adapter, prompt, width, height, scale: loraScale, warp, seed: seed + i }),
  );
}

const asked = ({ lora }: Trained, more: Partial<InferenceInput> = {}): InferenceInput => ({
  ...someInference(),
  lora,
  width: SIDE,
  height: SIDE,
  ...more,
});

const sha256 = (...parts: (string | Pixels)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

function imageOf(rgb: Pixels): ImageRef & { dctHash: string } {
  const size = { width: SIDE, height: SIDE };
  const pixelHash = sha256(`${SIDE}|${SIDE}|`, rgb);
  const file = { sha256: sha256('file of ', pixelHash), bytes: 3_000, contentType: 'image/png' };
  return { ...file, ...size, pixelHash, dctHash: dctHash(rgb, SIDE, SIDE) };
}

const noisy = (rgb: Pixels): Pixels => rgb.map((value, i) => Math.min(255, value + (i % 2)));

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

describe('the rule against copied pictures', () => {
  let ground: AuditGround;
  let directory: string;
  let artifacts: FileArtifactStore;
  let intake: Intake;
  let rule: PictureRule;
  let suspicions: number;
  let cat: Trained;
  let catAgain: Trained;
  let cup: Trained;

  const newRule = (sizes = SIZES, store = new PictureStore(ground.source)): PictureRule =>
    new PictureRule(store, new Photographs(store, artifacts), () => (suspicions += 1), nothing, sizes);
  const walk = async (one = rule): Promise<void> => {
    while (await one.run());
  };
  const delivered = async (
    hotkey: string,
    input: InferenceInput,
    pictures: readonly Pixels[],
    { unhashed, ...more }: Delivery = {},
  ): Promise<string> => {
    const images = pictures.map(imageOf);
    for (const { dctHash: hash, ...image } of images)
      await ground.jobs.image({ ...image, ...(!unhashed && { dctHash: hash }) });
    const result = { images: images.map(({ dctHash: _, ...image }) => image) };
    const job = await ground.jobs.finish({ hotkey, kind: 'lora-inference', input, result, ...more });
    while (await intake.run());
    return job;
  };
  /** The training that the LoRA came from. */
  const trainedHere = async ({ lora, photograph }: Trained): Promise<void> => {
    const png = await sharp(photograph, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .png()
      .toBuffer();
    const stored = await artifacts.put(png, { contentType: 'image/png', maxBytes: 1e7 });
    const input = someTraining(sha256(photograph), stored.sha256);
    await ground.jobs.finish({ hotkey: 'trainer', kind: 'lora-training', input, result: { lora } });
    while (await intake.run());
  };
  const suspicionOf = async (jobId: string) =>
    (
      await ground.query<{ why: string; suspicion: PictureSuspicion | null }>(
        'SELECT why, suspicion FROM studio.audits WHERE job_id = $1',
        [jobId],
      )
    )[0];

  const drawnFor = async (jobId: string, state = 'waiting'): Promise<void> => {
    await ground.query(
      `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, state, due_at)
       SELECT $1, job_id, hotkey, operator, kind, engine, epoch, 'draw', $3, studio.now() FROM studio.draws WHERE job_id = $2`,
      [randomUUID(), jobId, state],
    );
  };

  beforeAll(async () => {
    const [ofCat, ofCup] = await Promise.all([photographOf('chelsea.png'), photographOf('coffee.png')]);
    [cat, catAgain, cup] = [await trained(ofCat, 100), await trained(ofCat, 80), await trained(ofCup, 100)];
  });
  beforeEach(async () => {
    ground = await openAuditGround();
    directory = await mkdtemp(join(tmpdir(), 'picture-rule-'));
    artifacts = new FileArtifactStore(directory);
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(POLICY);
    await ground.jobs.openEpoch(1, POLICY);
    let now = 0;
    intake = new Intake(new DrawStore(ground.source), nothing, () => (now += 10_000));
    suspicions = 0;
    rule = newRule();
    for (const lora of [cat, catAgain, cup]) await trainedHere(lora);
  });
  afterEach(async () => {
    await ground.close();
    await rm(directory, { recursive: true });
  });

  describe('suspects', () => {
    it.each<[string, (original: InferenceInput) => InferenceInput, (rgb: Pixels) => Pixels, number | null]>([
      ['with another seed', (input) => ({ ...input, seed: 99 }), (rgb) => rgb, null],
      ['with another LoRA', () => asked(cup), (rgb) => rgb, null],
      ['with another LoRA, with noise', () => asked(cup), noisy, expect.any(Number) as number],
      [
        'by another prompt, bent far apart, with noise',
        () => asked(cat, { seed: 6, warp: 1 }),
        noisy,
        expect.any(Number) as number,
      ],
    ])('a picture handed in again %s', async (_, changed, disguise, distance) => {
      const input = asked(cat, { warp: 0.01 });
      const [picture] = rendered(cat, input);
      const original = await delivered('honest', input, [picture!], { finishedAgoS: 10 });
      const copy = await delivered('thief', changed(input), [disguise(picture!)]);
      await walk();
      expect(await suspicionOf(original)).toBeUndefined();
      const suspicion = { of: 'picture', copyOf: original, picture: 0, distance };
      expect(await suspicionOf(copy)).toEqual({ why: 'copy', suspicion });
      expect(suspicions).toBe(1);
    });

    it('whoever hands in its own old picture again, each time anew', async () => {
      const [stale] = rendered(cat, asked(cat));
      const jobs: string[] = [];
      for (let seed = 0; seed < 4; seed += 1)
        jobs.push(await delivered('stale', asked(cat, { seed }), [stale!], { finishedAgoS: 9 - seed }));
      await walk();
      const copyOf = jobs[0];
      const expected = [
        undefined,
        ...Array<unknown>(3).fill({ why: 'copy', suspicion: { of: 'picture', copyOf, picture: 0, distance: null } }),
      ];
      expect(await Promise.all(jobs.map(suspicionOf))).toEqual(expected);
    });

    it('a job that has one picture for two seeds', async () => {
      const input = asked(cat, { numImages: 2 });
      const [first] = rendered(cat, input);
      const job = await delivered('lazy', input, [first!, first!]);
      await walk();
      expect((await suspicionOf(job))?.suspicion).toEqual({ of: 'picture', copyOf: job, picture: 1, distance: null });
    });

    it('a job that is being audited already, but none whose audit is decided', async () => {
      const pictures = rendered(cat, asked(cat));
      const copyOf = await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 });
      const [drawn, decided] = [await delivered('a', asked(cup), pictures), await delivered('b', asked(cup), pictures)];
      await drawnFor(drawn);
      await drawnFor(decided, 'decided');
      await walk();
      expect(await suspicionOf(drawn)).toMatchObject({ why: 'draw', suspicion: { of: 'picture', copyOf } });
      expect(await suspicionOf(decided)).toEqual({ why: 'draw', suspicion: null });
    });

    it('the later of two, in whatever order they are taken in', async () => {
      const [picture] = rendered(cat, asked(cat));
      const copy = await delivered('thief', asked(cup), [picture!], { finishedAgoS: 1 });
      const original = await delivered('honest', asked(cat), [picture!], { finishedAgoS: 9 });
      await walk();
      expect(await suspicionOf(original)).toBeUndefined();
      expect((await suspicionOf(copy))?.suspicion?.copyOf).toBe(original);
    });

    it('equal pixels, but no resemblance, where no hash was kept', async () => {
      const [picture] = rendered(cat, asked(cat));
      await delivered('honest', asked(cat), [picture!], { finishedAgoS: 9, unhashed: true });
      const noise = await delivered('noise', asked(cup), [noisy(picture!)], { finishedAgoS: 8, unhashed: true });
      const copy = await delivered('thief', asked(cup), [picture!], { finishedAgoS: 1, unhashed: true });
      await walk();
      expect(await suspicionOf(noise)).toBeUndefined();
      expect(await suspicionOf(copy)).toMatchObject({ why: 'copy' });
    });

    it('neither a reference nor a replica, and what a reference gives later to another input', async () => {
      await ground.jobs.miner('reference', { trusted: true });
      const [mine, stolen] = [rendered(cup, asked(cup)), rendered(cat, asked(cat))];
      const original = await delivered('honest', asked(cup), mine, { finishedAgoS: 9 });
      const early = await delivered('prophet', asked(cup, { seed: 1 }), stolen, { finishedAgoS: 8 });
      const truth = await delivered('reference', asked(cat), stolen, { finishedAgoS: 7 });
      await drawnFor(original);
      const requestKey = randomUUID();
      await ground.query(
        `INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing)
         SELECT id, 1, 'peer', $1, '{}' FROM studio.audits`,
        [requestKey],
      );
      const replica = await delivered('peer', asked(cup, { seed: 2 }), mine, { finishedAgoS: 6, requestKey });
      await walk();
      expect((await suspicionOf(early))?.suspicion?.copyOf).toBe(truth);
      expect(await suspicionOf(original)).toEqual({ why: 'draw', suspicion: null });
      expect(await Promise.all([truth, replica].map(suspicionOf))).toEqual([undefined, undefined]);
    });
  });

  it.each<[string, () => [Trained, InferenceInput][]]>([
    [
      'from one input',
      () => [
        [cat, asked(cat)],
        [cat, asked(cat)],
      ],
    ],
    [
      'from the seed that comes next in another job',
      () => [
        [cat, asked(cat, { numImages: 2 })],
        [cat, asked(cat, { seed: 8 })],
      ],
    ],
    [
      'unbent, from any prompt and seed',
      () => [
        [cat, asked(cat, { warp: 0 })],
        [cat, asked(cat, { warp: 0, seed: 9, prompt: 'a dog' })],
      ],
    ],
    [
      'hardly bent',
      () => [
        [cat, asked(cat, { warp: 0.002 })],
        [cat, asked(cat, { warp: 0.002, seed: 9 })],
      ],
    ],
    [
      'without the LoRA',
      () => [
        [cat, asked(cat, { loraScale: 0 })],
        [cup, asked(cup, { loraScale: 0 })],
      ],
    ],
    [
      'almost without it',
      () => [
        [cat, asked(cat, { loraScale: 0.02, warp: 0 })],
        [cup, asked(cup, { loraScale: 0.02, warp: 0 })],
      ],
    ],
    [
      'of one photograph, trained twice',
      () => [
        [cat, asked(cat, { warp: 0 })],
        [catAgain, asked(catAgain, { warp: 0 })],
      ],
    ],
    [
      'of two photographs',
      () => [
        [cat, asked(cat)],
        [cup, asked(cup)],
      ],
    ],
  ])('leaves honest pictures alone: %s', async (_, honest) => {
    const jobs: string[] = [];
    for (const [lora, input] of honest()) jobs.push(await delivered('honest', input, rendered(lora, input)));
    await walk();
    expect(await Promise.all(jobs.map(suspicionOf))).toEqual([undefined, undefined]);
  });

  it('leaves resemblance alone where a client brought the LoRA: its photograph is not known', async () => {
    const brought = { ...cat, lora: someLora() };
    const input = asked(cat, { warp: 0 });
    const jobs = [await delivered('one', input, rendered(cat, input), { finishedAgoS: 9 })];
    jobs.push(await delivered('two', asked(brought, { warp: 0 }), rendered(cat, input).map(noisy)));
    await walk();
    expect(await Promise.all(jobs.map(suspicionOf))).toEqual([undefined, undefined]);
  });

  it('leaves whoever renders an input again alone, though a thief showed its picture before', async () => {
    const pictures = rendered(cat, asked(cat));
    await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 });
    const copy = await delivered('thief', asked(cup), pictures, { finishedAgoS: 8 });
    const again = await delivered('honest too', asked(cat), pictures, { finishedAgoS: 7 });
    await walk();
    expect(await suspicionOf(copy)).toBeDefined();
    expect(await suspicionOf(again)).toBeUndefined();
  });

  describe('after a restart', () => {
    const three = async (): Promise<string[]> => {
      const pictures = rendered(cat, asked(cat));
      const jobs = [await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 })];
      jobs.push(await delivered('thief', asked(cup), pictures, { finishedAgoS: 8 }));
      jobs.push(await delivered('thief', asked(cup, { seed: 1 }), pictures, { finishedAgoS: 7 }));
      return jobs;
    };
    const small = { remembered: 50, batch: 1 };

    it('goes on where it was, remembers what came before, and repeats nothing', async () => {
      const [original, ...copies] = await three();
      // Three trainings and two of the three pictures: the rest is another process's.
      const before = newRule(small);
      for (let run = 0; run < 5; run += 1) await before.run();
      expect(await suspicionOf(copies[0]!)).toBeDefined();
      expect(await suspicionOf(copies[1]!)).toBeUndefined();
      suspicions = 0;
      await walk(newRule(small));
      expect((await suspicionOf(copies[1]!))?.suspicion?.copyOf).toBe(original);
      expect(suspicions).toBe(1);
    });

    it('does again what could not be written', async () => {
      const [original, ...copies] = await three();
      class Failing extends PictureStore {
        failures = 1;
        override async checked(...given: Parameters<PictureStore['checked']>): Promise<void> {
          if (this.failures-- > 0) throw new Error('the database is gone');
          await super.checked(...given);
        }
      }
      const failing = newRule(SIZES, new Failing(ground.source));
      await expect(failing.run()).rejects.toThrow('the database is gone');
      expect(await ground.query('SELECT 1 FROM studio.audits')).toEqual([]);
      await walk(failing);
      for (const copy of copies) expect((await suspicionOf(copy))?.suspicion?.copyOf).toBe(original);
    });

    it('finds the same across replicas of which each checks some', async () => {
      const other = newRule(small);
      await walk();
      await walk(other);
      const [original, ...copies] = await three();
      await other.run();
      await Promise.all([walk(), walk(other)]);
      await Promise.all([walk(), walk(other)]);
      for (const copy of copies) expect((await suspicionOf(copy))?.suspicion?.copyOf).toBe(original);
      expect(await ground.query('SELECT 1 FROM studio.audits')).toHaveLength(2);
    });
  });

  it('forgets the oldest pictures', async () => {
    const pictures = rendered(cat, asked(cat));
    await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 });
    await delivered('other', asked(cup), rendered(cup, asked(cup)), { finishedAgoS: 8 });
    const copy = await delivered('thief', asked(cup, { seed: 1 }), pictures, { finishedAgoS: 7 });
    await walk(newRule({ remembered: 1, batch: 10 }));
    expect(await suspicionOf(copy)).toBeUndefined();
  });

  it('begins after the epochs that are settled, but knows their pictures', async () => {
    const pictures = rendered(cat, asked(cat));
    const jobs = [await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 })];
    jobs.push(await delivered('settled', asked(cup), pictures, { finishedAgoS: 8 }));
    await ground.jobs.closeEpoch(1, POLICY);
    await ground.query(`INSERT INTO studio.settlements (epoch, secret) VALUES (1, 'revealed')`);
    jobs.push(await delivered('thief', asked(cup, { seed: 1 }), pictures, { finishedAgoS: 7 }));
    await walk();
    expect(await Promise.all(jobs.map(suspicionOf))).toMatchObject([
      undefined,
      undefined,
      { suspicion: { copyOf: jobs[0] } },
    ]);
  });

  it('misses none when the clock is set back', async () => {
    const pictures = rendered(cat, asked(cat));
    const original = await delivered('honest', asked(cat), pictures, { finishedAgoS: 30 });
    await walk();
    await ground.advance(-20);
    const copy = await delivered('thief', asked(cup), pictures);
    await walk();
    expect((await suspicionOf(copy))?.suspicion?.copyOf).toBe(original);
  });

  it('keeps an epoch from settling until its last picture is checked, and no later one does', async () => {
    const closing = new ClosingStore(ground.source);
    const waits = async (): Promise<boolean> => (await closing.unsettled(1)).pictures;
    await walk();
    expect(await waits()).toBe(false);
    await delivered('honest', asked(cat), rendered(cat, asked(cat)));
    expect(await waits()).toBe(true);
    await ground.jobs.closeEpoch(1, POLICY);
    await delivered('honest', asked(cup), rendered(cup, asked(cup)));
    const oneByOne = newRule({ remembered: 50, batch: 1 });
    while (await waits()) await oneByOne.run();
    expect((await closing.unsettled(2)).pictures).toBe(true);
    await walk(oneByOne);
    expect((await closing.unsettled(2)).pictures).toBe(false);
  });

  it.each([
    ['convicts a copy, and names what it was copied from', () => rendered(cup, asked(cup)), 'invalid'],
    ['clears a suspect whose result the reference gets as well', () => rendered(cat, asked(cat)), 'valid'],
  ])('lets the replay decide: it %s', async (_title, truth, outcome) => {
    await ground.jobs.miner('reference', { trusted: true });
    const pictures = rendered(cat, asked(cat));
    const original = await delivered('honest', asked(cat), pictures, { finishedAgoS: 9 });
    const suspect = await delivered('suspect', asked(cup), pictures, { finishedAgoS: 1 });
    await walk();
    const result = { images: truth().map(imageOf) };
    const querier = new StandInQuerier(ground.nats, ground.jobs, () => ({ hotkey: 'reference', result }));
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
    const named = `picture 1 is a copy of one of job ${original}, which another input asked for (equal pixels): image`;
    expect(verdict?.reason.includes(named)).toBe(outcome === 'invalid');
  });
});
