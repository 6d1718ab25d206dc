import sharp from 'sharp';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { rgbPng } from '@studio/shared/testing/png-file';
import { CheckPool } from './check-pool';
import type { Checked } from './checked';

const SIZE = { width: 16, height: 16 };
const BLACK = rgbPng(SIZE, new Uint8Array(3 * 16 * 16));
const BLANK = 'the image is blank';
const reasonOf = (checked: Checked<unknown>): string | undefined => (checked.ok ? undefined : checked.reason);

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

  it('ends a check that takes too long, says so, and goes on with another thread', async () => {
    // 64 MiB, of which a thread would have for some 400 ms, and is given 60.
    const slow = writeSafetensors([
      ['single_blocks.0.lora_A.weight', { shape: [1 << 24], data: new Float32Array(1 << 24) }],
    ]);
    const impatient = new CheckPool({ threads: 1, lookMs: 20, looks: 2 });
    const reason = 'the file needs more time than it may take';
    await expect(impatient.loraUpload(slow)).resolves.toEqual({ ok: false, reason });
    // On a busy machine any check may take so long: until one does not.
    let said: string | undefined;
    for (let i = 0; i < 100 && said !== BLANK; i += 1) said = reasonOf(await impatient.image(BLACK, SIZE));
    expect(said).toBe(BLANK);
    await impatient.close();
  }, 60_000);

  it('counts the time of a check from when it has a thread', async () => {
    // Compiling what the thread loads takes longer than a check may.
    const impatient = new CheckPool({ threads: 1, warm: 0, lookMs: 4, looks: 100 });
    const all = await Promise.all(Array.from({ length: 20 }, () => impatient.image(BLACK, SIZE)));
    expect(new Set(all.map(reasonOf))).toEqual(new Set([BLANK]));
    await impatient.close();
  }, 60_000);

  it('has no decoder for formats that nobody asked for, whatever the first bytes say', async () => {
    const tiff = await sharp(BLACK).tiff().toBuffer();
    await pool.image(BLACK, SIZE);
    await expect(sharp(tiff).metadata()).rejects.toThrow('unsupported image format');
  }, 60_000);
});
