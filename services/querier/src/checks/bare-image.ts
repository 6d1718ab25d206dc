/**
 * A picture's file without what is not its pixels: text, camera data, colour profiles, further frames, trailing files. It is
 * taken out before a decoder sees it, because that is where a small file asks for the most: 9 MiB of PNG with 200
 * compressed text chunks around 64 × 64 pixels made the decoder take 16 GiB and 90 s, and then pass.
 *
 * Nothing is judged here. From where a file stops making sense it is handed on as it is, and the decoder refuses it.
 */
import type { ImageFormat } from './image-format';

/** `photograph`: the colour profile and the camera's orientation stay as well, each within MAX_EXTRA_BYTES. */
export type Kept = 'pixels' | 'photograph';

/** Profiles of printers have up to some hundred kB; the orientation is in the first lines of a camera's data. */
const MAX_EXTRA_BYTES = 1024 * 1024;

export function bareImage(bytes: Uint8Array, format: ImageFormat, kept: Kept): Uint8Array {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (format) {
    case 'png':
      return barePng(file, kept);
    case 'jpeg':
      return bareJpeg(file, kept);
    case 'webp':
      return bareWebp(file, kept);
  }
}

/** Copies stretches of a file into one buffer: a million tiny chunks cost no million objects. */
class Copy {
  private readonly to: Buffer;
  private length = 0;

  constructor(private readonly from: Buffer) {
    this.to = Buffer.allocUnsafe(from.length);
  }

  take(begin: number, end: number = this.from.length): void {
    this.length += this.from.copy(this.to, this.length, begin, end);
  }

  get bytes(): Buffer {
    return this.to.subarray(0, this.length);
  }
}

const PNG_SIGNATURE_BYTES = 8;
/** Length, type and checksum. */
const PNG_CHUNK_FRAME = 12;
const PNG_COLOUR_PROFILE = 'iCCP';
const PNG_CAMERA = 'eXIf';

/** Critical chunks, by the bit that says so, and the transparency. */
function barePng(file: Buffer, kept: Kept): Buffer {
  const copy = new Copy(file);
  copy.take(0, PNG_SIGNATURE_BYTES);
  let at = PNG_SIGNATURE_BYTES;
  while (at + PNG_CHUNK_FRAME <= file.length) {
    const length = file.readUInt32BE(at);
    const type = file.toString('latin1', at + 4, at + 8);
    const end = at + PNG_CHUNK_FRAME + length;
    if (end > file.length) break;
    const isCritical = (file[at + 4]! & 0x20) === 0;
    const isExtra = kept === 'photograph' && (type === PNG_COLOUR_PROFILE || type === PNG_CAMERA);
    if (isCritical || type === 'tRNS' || (isExtra && length <= MAX_EXTRA_BYTES)) copy.take(at, end);
    if (type === 'IEND') return copy.bytes;
    at = end;
  }
  copy.take(at);
  return copy.bytes;
}

const JPEG_START_OF_SCAN = 0xda;
const JPEG_JFIF = 0xe0;
const JPEG_CAMERA = 0xe1;
const JPEG_COLOUR_PROFILE = 0xe2;
/** Says how the colours are stored; without it CMYK comes out inverted. */
const JPEG_ADOBE = 0xee;
const JPEG_COMMENT = 0xfe;

/** Segments before the first scan. What follows is pixels. */
function bareJpeg(file: Buffer, kept: Kept): Buffer {
  const copy = new Copy(file);
  copy.take(0, 2);
  let at = 2;
  let hasCamera = false;
  while (at + 4 <= file.length && file[at] === 0xff) {
    const marker = file[at + 1]!;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const end = at + 2 + file.readUInt16BE(at + 2);
    // Below 0xc0 and from 0xd0 to 0xda come markers without a length, and the scan: no segment to step over.
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= JPEG_START_OF_SCAN) || end > file.length) break;
    const isExtra = kept === 'photograph' && isJpegExtra(file, at, marker, hasCamera);
    if (isExtra && marker === JPEG_CAMERA) hasCamera = true;
    const isApplications = marker >= JPEG_JFIF && marker <= 0xef && marker !== JPEG_JFIF && marker !== JPEG_ADOBE;
    if (isExtra || !(isApplications || marker === JPEG_COMMENT)) copy.take(at, end);
    at = end;
  }
  copy.take(at);
  return copy.bytes;
}

function isJpegExtra(file: Buffer, at: number, marker: number, hasCamera: boolean): boolean {
  const begins = (text: string): boolean => file.toString('latin1', at + 4, at + 4 + text.length) === text;
  if (marker === JPEG_CAMERA) return !hasCamera && begins('Exif\0');
  return marker === JPEG_COLOUR_PROFILE && begins('ICC_PROFILE\0');
}

const WEBP_HEADER_BYTES = 12;
const WEBP_PIXELS = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF']);
const WEBP_EXTRAS = new Set(['ICCP', 'EXIF']);

/** The header still says which of the others there are; a decoder that does not find them goes on. */
function bareWebp(file: Buffer, kept: Kept): Buffer {
  const copy = new Copy(file);
  copy.take(0, WEBP_HEADER_BYTES);
  const claimed = file.readUInt32LE(4);
  const limit = Math.min(file.length, 8 + claimed);
  let at = WEBP_HEADER_BYTES;
  let left = 0;
  while (at + 8 <= limit) {
    const type = file.toString('latin1', at, at + 4);
    const length = file.readUInt32LE(at + 4);
    const end = at + 8 + length + (length & 1);
    if (end > limit) break;
    const isExtra = kept === 'photograph' && WEBP_EXTRAS.has(type) && length <= MAX_EXTRA_BYTES;
    if (WEBP_PIXELS.has(type) || isExtra) copy.take(at, end);
    else left += end - at;
    at = end;
  }
  copy.take(at, Math.max(at, limit));
  const bare = copy.bytes;
  bare.writeUInt32LE(claimed - left, 4);
  return bare;
}
