/** What happens to a picture on its way, honestly or not. For the demonstration pairs, and for the comparator's tests. */
import sharp, { type Sharp } from 'sharp';
import type { Picture } from '../comparators/pixels';

/** Honest: other encoders, other machines. */
export function jpeg(picture: Picture, quality: number): Promise<Picture> {
  return decoded(open(picture).jpeg({ quality }));
}

export function webp(picture: Picture, quality: number): Promise<Picture> {
  return decoded(open(picture).webp({ quality }));
}

/** Every byte −1, 0 or +1. @param uniform numbers in [0, 1). */
export function noise(picture: Picture, uniform: () => number): Picture {
  const rgb = Uint8ClampedArray.from(picture.rgb);
  for (let i = 0; i < rgb.length; i++) {
    const chance = 3 * uniform();
    rgb[i]! += chance < 1 ? -1 : chance < 2 ? 0 : 1;
  }
  return { ...picture, rgb: Uint8Array.from(rgb) };
}

/** Dishonest: a share of the pixels is rendered, and enlarged. The other kernels of sharp enlarge as `cubic` does. */
export async function enlarged(picture: Picture, factor: number, kernel: 'linear' | 'cubic'): Promise<Picture> {
  return resized(await shrunk(picture, factor), picture, kernel);
}

export function shrunk(picture: Picture, factor: number): Promise<Picture> {
  const { width, height } = picture;
  return resized(picture, { width: Math.round(width / factor), height: Math.round(height / factor) }, 'lanczos3');
}

export function sharpened(picture: Picture, sigma: number): Promise<Picture> {
  return raw(open(picture).sharpen({ sigma }));
}

export function blurred(picture: Picture, sigma: number): Promise<Picture> {
  return raw(open(picture).blur(sigma));
}

/** The middle `share` of each side, enlarged to the whole. */
export async function cropped(picture: Picture, share: number): Promise<Picture> {
  const [width, height] = [Math.round(picture.width * share), Math.round(picture.height * share)];
  const [left, top] = [Math.floor((picture.width - width) / 2), Math.floor((picture.height - height) / 2)];
  return resized(await raw(open(picture).extract({ left, top, width, height })), picture, 'cubic');
}

export function mirrored(picture: Picture): Promise<Picture> {
  return raw(open(picture).flop());
}

/** Every colour turned around the colour wheel. */
export function recoloured(picture: Picture, degrees: number): Promise<Picture> {
  return raw(open(picture).modulate({ hue: degrees }));
}

/** Red with a white disc, in the lower right corner; its side as a share of the picture's. */
export function withLogo(picture: Picture, share: number): Picture {
  return stamped(picture, share, (u, v) => ((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.17 ? [255, 255, 255] : [220, 30, 40]));
}

/** Overwrites a square near the lower right corner. @param colour of the place (u, v), each from 0 to 1. */
export function stamped(
  picture: Picture,
  share: number,
  colour: (u: number, v: number) => readonly [number, number, number],
): Picture {
  const { width, height } = picture;
  const side = Math.round(width * share);
  const [left, top] = [Math.round(width * 0.95) - side, Math.round(height * 0.95) - side];
  const rgb = Uint8Array.from(picture.rgb);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) rgb.set(colour(x / side, y / side), ((top + y) * width + left + x) * 3);
  }
  return { ...picture, rgb };
}

export function png(picture: Picture): Promise<Uint8Array> {
  // The files are read once: the fastest compression does.
  return open(picture).png({ compressionLevel: 1 }).toBuffer();
}

function open({ rgb, width, height }: Picture): Sharp {
  return sharp(rgb, { raw: { width, height, channels: 3 } });
}

function resized(
  picture: Picture,
  { width, height }: Pick<Picture, 'width' | 'height'>,
  kernel: 'linear' | 'cubic' | 'lanczos3',
): Promise<Picture> {
  return raw(open(picture).resize(width, height, { kernel, fit: 'fill' }));
}

async function decoded(encoder: Sharp): Promise<Picture> {
  return raw(sharp(await encoder.toBuffer()));
}

async function raw(image: Sharp): Promise<Picture> {
  const { data, info } = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { rgb: data, width: info.width, height: info.height };
}
