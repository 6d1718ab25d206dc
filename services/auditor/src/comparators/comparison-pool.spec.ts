import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import { trainAdapter } from '@studio/ref-sep/train';
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { ComparisonPool } from './comparison-pool';

jest.setTimeout(120_000);

describe('the comparison pool', () => {
  const pool = new ComparisonPool({ threads: 1 });
  afterAll(() => pool.close());

  const photograph = (side: number) =>
    sharp(readFileSync(join(__dirname, '../../../../photos/coffee.png'))).resize(side, side, { fit: 'cover' });

  it('compares two picture files in its thread', async () => {
    const [png, jpeg] = [await photograph(64).png().toBuffer(), await photograph(64).jpeg({ quality: 90 }).toBuffer()];
    const found = await pool.pictures(png, jpeg, PERCEPTUAL_THRESHOLDS);
    expect(found).toMatchObject({ agrees: true, failed: [] });
    expect(found.distances!.ssim).toBeLessThan(1);
    const strict = { ...PERCEPTUAL_THRESHOLDS, ssim: 0.999 };
    expect(await pool.pictures(png, jpeg, strict)).toMatchObject({ agrees: false, failed: ['ssim'] });
  });

  it('tries an adapter on a trusted engine in its thread', async () => {
    const image = await photograph(32).png().toBuffer();
    const rgb = await photograph(32).removeAlpha().raw().toBuffer();
    const { tensors, metadata } = adapterToTensors(await trainAdapter({ rgb, width: 32, height: 32, steps: 20, rank: 4, seed: 1 })); // prettier-ignore
    const own = writeSafetensors(tensors, metadata);
    const found = await pool.functional({ engine: 'ref-sep-v1', target: own, own, image, secretSeed: 1 });
    expect(found).toMatchObject({ agrees: true, distances: { secondSeedResponse: 1 } });
  });

  it('rejects what it cannot read, so that nobody is convicted by it', async () => {
    const png = await photograph(64).png().toBuffer();
    const damaged = Buffer.from(png).fill(0, png.length >> 1);
    await expect(pool.pictures(png, damaged, PERCEPTUAL_THRESHOLDS)).rejects.toThrow();
    const huge = await sharp({ create: { width: 2049, height: 2049, channels: 3, background: '#123' } }).png().toBuffer(); // prettier-ignore
    await expect(pool.pictures(huge, huge, PERCEPTUAL_THRESHOLDS)).rejects.toThrow('exceeds pixel limit');
    await expect(
      pool.functional({ engine: 'ref-sep-v1', target: png, own: png, image: png, secretSeed: 1 }),
    ).rejects.toThrow('header');
  });
});
