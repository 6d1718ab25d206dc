import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import { trainAdapter } from '@studio/ref-sep/train';
import type { ImageRef, InferenceInput, JobResult, TrainingInput } from '@studio/shared/domain/job';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import sharp, { type Sharp } from 'sharp';
import type { AuditCase, ReplayRow } from '../audit-case';
import { judgmentOf } from '../judgment';
import { lastVerdict } from '../next-step';
import { Comparators } from './comparators';
import { ComparisonPool } from './comparison-pool';

jest.setTimeout(120_000);

const SIDE = 256;
const lora = { sha256: 'f', bytes: 1, contentType: 'x/y', rank: 4, tensorHash: 'f' };
const INPUT: InferenceInput = { lora, prompt: '', width: SIDE, height: SIDE, seed: 1, loraScale: 1, warp: 0, numImages: 1 }; // prettier-ignore

/** Results of an engine that differs between machines: its pictures are files in a real store. */
describe('a case of results that are not bit-equal', () => {
  let directory: string;
  let store: FileArtifactStore;
  let pool: ComparisonPool;
  let photo: Buffer;
  const compared = jest.fn();

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'comparators-'));
    store = new FileArtifactStore(directory);
    pool = new ComparisonPool({ threads: 1 });
    photo = await sharp(readFileSync(join(__dirname, '../../../../photos/chelsea.png')))
      .resize(SIDE, SIDE, { fit: 'cover' })
      .png()
      .toBuffer();
  });
  afterAll(async () => {
    await pool.close();
    await rm(directory, { recursive: true });
  });
  const comparators = (): Comparators =>
    new Comparators(store, {
      pictures: (...task) => {
        compared();
        return pool.pictures(...task);
      },
      functional: (task) => pool.functional(task),
    });

  const keep = async (image: Sharp): Promise<ImageRef> => {
    const png = await sharp(await image.toBuffer()).png().toBuffer(); // prettier-ignore
    const ref = await store.put(png, { contentType: 'image/png', maxBytes: png.length });
    return { ...ref, width: SIDE, height: SIDE, pixelHash: ref.sha256 };
  };
  const jpeg = async (quality: number): Promise<JobResult> => ({
    images: [await keep(sharp(photo).jpeg({ quality }))],
  });
  const halfSize = async (): Promise<JobResult> => {
    const small = await sharp(photo).resize(SIDE / 2).toBuffer(); // prettier-ignore
    return { images: [await keep(sharp(small).resize(SIDE, SIDE, { kernel: 'cubic' }).sharpen({ sigma: 1 }))] };
  };
  const replay = (ordinal: number, hotkey: string, result: JobResult): ReplayRow => ({
    ordinal,
    judge: hotkey === 'reference' ? 'trusted' : 'peer',
    requestKey: `key-${ordinal}`,
    routing: {},
    jobId: `replay-${ordinal}`,
    state: 'succeeded',
    failedMsAgo: null,
    done: { hotkey, operator: hotkey, attemptNo: 1, epoch: 1, result },
  });
  const caseOf = (result: JobResult, replays: ReplayRow[], fields: Partial<AuditCase> = {}): AuditCase => ({
    id: 'audit',
    round: 1,
    why: 'draw',
    suspicion: null,
    jobId: `job of ${JSON.stringify(result).slice(0, 90)}`,
    attemptNo: 1,
    hotkey: 'target',
    operator: 'target',
    kind: 'lora-inference',
    engine: 'flux',
    epoch: 1,
    policy: DEFAULT_POLICY,
    q: 0.1,
    u: '5',
    input: INPUT,
    result,
    private: false,
    closing: false,
    seenBy: [],
    replays,
    ...fields,
  });

  it('is valid when the pictures agree within the bounds of the policy, and the evidence holds what was measured', async () => {
    const audit = caseOf(await jpeg(92), [replay(1, 'reference', await jpeg(85))]);
    const comparator = await comparators().of(audit);
    const verdict = lastVerdict(audit, comparator);
    expect(verdict.outcome).toBe('valid');
    const { evidence } = judgmentOf(audit, verdict, comparator);
    expect(evidence.replays[0]).toMatchObject({ agrees: true, distances: [{ image: 0, dctDistance: expect.any(Number) as number }] }); // prettier-ignore
  });

  it('convicts half a size that was scaled up and sharpened, and says by what it was known', async () => {
    const replays = [replay(1, 'reference', await jpeg(95)), replay(2, 'peer', await jpeg(88))];
    const audit = caseOf(await halfSize(), replays);
    const comparator = await comparators().of(audit);
    const judgment = judgmentOf(audit, lastVerdict(audit, comparator), comparator);
    expect(judgment.outcome).toBe('invalid');
    expect(judgment.reason).toMatch(
      /^image differs from the reference's: .*fine detail alike to 0\.\d+ \(at least 0\.65\)/,
    );
    expect(judgment.replicas).toEqual([]);
  });

  it('is compared once, however often it is looked at, and equal pixels not at all', async () => {
    compared.mockClear();
    const shared = comparators();
    const result = await jpeg(93);
    const audit = caseOf(result, [replay(1, 'reference', await jpeg(87)), replay(2, 'peer', result)]);
    for (let look = 0; look < 3; look += 1) expect(await shared.of(audit)).toBeDefined();
    expect(compared).toHaveBeenCalledTimes(1);
  });

  it('cannot be compared when a file is gone, and that hurts nobody', async () => {
    const gone: JobResult = { images: [{ ...(await keep(sharp(photo).blur(1))), sha256: 'e'.repeat(64), pixelHash: 'gone' }] }; // prettier-ignore
    const audit = caseOf(await jpeg(91), [replay(1, 'reference', gone)]);
    const comparator = await comparators().of(audit);
    expect(comparator).toBeUndefined();
    expect(lastVerdict(audit, comparator).outcome).toBe('inconclusive');
  });

  it('of adapters is judged by what a trusted engine renders with them', async () => {
    const side = 32;
    const trained = async (steps: number): Promise<{ image: ImageRef; result: JobResult }> => {
      const small = sharp(photo).resize(side, side);
      const { data } = await small.clone().removeAlpha().raw().toBuffer({ resolveWithObject: true });
      const task = { rgb: data, width: side, height: side, steps, rank: 8, seed: 3 };
      const { tensors, metadata } = adapterToTensors(await trainAdapter(task));
      const file = writeSafetensors(tensors, metadata);
      const ref = await store.put(file, { contentType: 'x/y', maxBytes: file.length });
      return { image: await keep(small.clone().png()), result: { lora: { ...ref, rank: 8, tensorHash: ref.sha256 } } };
    };
    const [honest, lazy] = await Promise.all([trained(160), trained(20)]);
    const input: TrainingInput = { image: honest.image, resolution: side, steps: 160, rank: 8, seed: 3 };
    const fields = { kind: 'lora-training', engine: 'ref-sep-v1', input } as const;
    const replays = [replay(1, 'reference', honest.result), replay(2, 'reference', honest.result)];
    const functional = new Comparators(store, pool, () => 'functional');
    const audit = caseOf(lazy.result, replays, fields);
    const comparator = await functional.of(audit);
    const judgment = judgmentOf(audit, lastVerdict(audit, comparator), comparator);
    expect(judgment).toMatchObject({ outcome: 'invalid', reason: expect.stringMatching(/dB/) as string });
    expect(judgment.evidence.replays[0]?.distances?.[0]).toMatchObject({ secondSeed: expect.any(Number) as number });
    expect(await new Comparators(store, pool).of(caseOf(lazy.result, replays, { ...fields, engine: 'flux' }))).toBeUndefined(); // prettier-ignore
  });
});
