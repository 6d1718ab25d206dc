import sharp from 'sharp';
import { CheckPool } from './check-pool';

describe('the check pool', () => {
  const pool = new CheckPool({ threads: 1 });
  afterAll(() => pool.close());

  it('runs every check in its thread', async () => {
    const noise = { type: 'gaussian' as const, mean: 128, sigma: 40 };
    const png = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#000', noise } })
      .png()
      .toBuffer();
    await expect(pool.image(png, { width: 16, height: 16 })).resolves.toMatchObject({ ok: true });
    await expect(pool.photograph(png, 16)).resolves.toMatchObject({ ok: true });
    await expect(pool.photographUpload(png)).resolves.toBeUndefined();
    await expect(pool.lora(png, { engine: 'ref-sep-v1', rank: 4, resolution: 64 })).resolves.toMatchObject({
      ok: false,
    });
    await expect(pool.loraUpload(png)).resolves.toMatchObject({ ok: false });
  }, 60_000);
});
