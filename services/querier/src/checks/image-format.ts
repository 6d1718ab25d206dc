/** The formats that are decoded at all: every further decoder is more code that strangers' bytes run through. */
export type ImageFormat = 'png' | 'jpeg' | 'webp';

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];
const RIFF = [0x52, 0x49, 0x46, 0x46];
const WEBP = [0x57, 0x45, 0x42, 0x50];

/** By the first bytes alone; what a header or a name claims is not asked. */
export function sniffImage(bytes: Uint8Array): ImageFormat | undefined {
  if (hasAt(bytes, 0, PNG)) return 'png';
  if (hasAt(bytes, 0, JPEG)) return 'jpeg';
  if (hasAt(bytes, 0, RIFF) && hasAt(bytes, 8, WEBP)) return 'webp';
  return undefined;
}

function hasAt(bytes: Uint8Array, at: number, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[at + index] === byte);
}
