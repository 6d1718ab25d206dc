import Table from 'cli-table3';
import { CheckPool } from '@studio/querier/checks/check-pool';
import { expectedFiles, readMinerResult, ResultRefused } from '@studio/querier/miner-result';
import { imagePart } from '@studio/shared/contract/miner-job';
import type { InferenceInput } from '@studio/shared/domain/job';
import { Chance } from '../chance';
import { FAMILIES, PLAUSIBLE, SIZE, type Family, type UnusableResult } from './unusable-results';

jest.setTimeout(300_000);

const SEED = 1;
/** None may be missed. Were one in a thousand missed, so would be at least one of these with 95 seeds of 100. */
const RESULTS = 3_000;
const EACH = Math.ceil(RESULTS / FAMILIES.length);
/** More than the threads of the pool, so that none is idle. */
const AT_ONCE = 4;
const PIECE_BYTES = 65_536;
const EXPECTED = expectedFiles('lora-inference', 'ref-sep-v1', { ...SIZE, numImages: 1 } as InferenceInput);

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

describe('a success without a usable image', () => {
  const pool = new CheckPool();
  afterAll(() => pool.close());

  /** Why the door refuses it; undefined where it does not. As result-intake.ts does, in its order. */
  async function refusal({ contentType, body }: UnusableResult): Promise<string | undefined> {
    try {
      const { manifest, files } = await readMinerResult(pieces(body), contentType, EXPECTED);
      if (manifest.status === 'failed') return 'the miner gave up';
      const checked = await pool.image(files.get(imagePart(0))!, SIZE);
      return checked.ok ? undefined : checked.reason;
    } catch (error) {
      if (error instanceof ResultRefused) return error.message;
      throw error;
    }
  }

  /** Of `count` results of the family: how many are refused, and the commonest reason. */
  async function caughtOf(family: Family, count: number): Promise<{ caught: number; reason: string }> {
    const reasons = new Map<string, number>();
    const chance = new Chance(SEED);
    let made = 0;
    const hand = async (): Promise<void> => {
      while (made < count) {
        made += 1;
        const reason = await refusal(await family.make(chance));
        if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, hand));
    const sorted = [...reasons].sort(([, a], [, b]) => b - a);
    return { caught: sorted.reduce((sum, [, number]) => sum + number, 0), reason: sorted[0]?.[0] ?? '' };
  }

  it('is caught on first delivery, in at least 999 of 1000, whatever it is', async () => {
    const table = new Table({
      head: ['what is sent', 'caught', 'of', 'mostly because'],
      style: { head: [], border: [] },
    });
    const missed: Record<string, number> = {};
    for (const family of FAMILIES) {
      const { caught, reason } = await caughtOf(family, EACH);
      table.push([family.name, caught, EACH, reason.slice(0, 60)]);
      if (caught < EACH) missed[family.name] = EACH - caught;
    }
    const all = EACH * FAMILIES.length;
    const caught = all - Object.values(missed).reduce((sum, number) => sum + number, 0);
    process.stdout.write(
      `${table.toString()}\nseed ${SEED}: ${caught} of ${all} caught, ${((100 * caught) / all).toFixed(3)} %\n`,
    );
    expect(all).toBeGreaterThanOrEqual(RESULTS);
    expect(missed).toEqual({});
  });

  it('is another thing than a wrong picture, which tier 2 finds', async () => {
    for (const family of PLAUSIBLE) expect((await caughtOf(family, 50)).caught).toBe(0);
  });
});
