import { existsSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import type { LauncherOptions } from '../options';
import { LARGE_IMAGES, LARGE_TRAINING, MAIN_IMAGES, MAIN_TRAINING } from './plan';

const TILE = 256;
const GAP = 8;
const CAPTION = 30;
const COLUMNS = 5;

interface Tile {
  path: string;
  caption: string;
}

/** One picture of the whole: the photograph, what was trained on, and every image of its LoRAs. Returns its path. */
export async function writeOverview(options: LauncherOptions): Promise<string> {
  const image = (name: string): string => join(options.outDir, 'images', `${name}.png`);
  const tiles: Tile[] = [
    { path: options.photo, caption: 'the photograph' },
    { path: image(`${MAIN_TRAINING.name}-training`), caption: 'trained on, 64²' },
    ...MAIN_IMAGES.map((plan) => ({ path: image(plan.name), caption: plan.title })),
    { path: image(`${LARGE_TRAINING.name}-training`), caption: 'trained on, 128²' },
    ...LARGE_IMAGES.map((plan) => ({ path: image(plan.name), caption: `128²: ${plan.title}` })),
  ].filter(({ path }) => existsSync(path));
  const rows = Math.ceil(tiles.length / COLUMNS);
  const canvas = sharp({
    create: {
      width: COLUMNS * (TILE + GAP) + GAP,
      height: rows * (TILE + CAPTION + GAP) + GAP,
      channels: 3,
      background: '#16181d',
    },
  });
  const parts = await Promise.all(tiles.map(async (tile, index) => place(tile, index)));
  const path = join(options.outDir, 'overview.png');
  await canvas.composite(parts.flat()).png().toFile(path);
  return path;
}

async function place(tile: Tile, index: number): Promise<sharp.OverlayOptions[]> {
  const left = GAP + (index % COLUMNS) * (TILE + GAP);
  const top = GAP + Math.floor(index / COLUMNS) * (TILE + CAPTION + GAP);
  const picture = await sharp(tile.path)
    .rotate()
    .resize(TILE, TILE, { fit: 'contain', background: '#16181d', kernel: 'nearest' })
    .png()
    .toBuffer();
  return [
    { input: picture, left, top },
    { input: caption(tile.caption), left, top: top + TILE },
  ];
}

function caption(text: string): Buffer {
  const safe = text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const font = 'font-family="sans-serif" font-size="13" fill="#c8ccd4"';
  return Buffer.from(`<svg width="${TILE}" height="${CAPTION}"><text x="2" y="20" ${font}>${safe}</text></svg>`);
}
