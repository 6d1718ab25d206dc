import sharp from 'sharp';
import { TASK_KINDS } from '@studio/shared/domain/task-kinds';
import type { Picture } from './pixels';

/** The largest picture that any task kind can ask for. */
const MAX_PIXELS = Math.max(...TASK_KINDS.map(({ limits }) => limits.side[1] ** 2));

/**
 * The pixels of a picture file, as every check sees them: sRGB, on white where it is transparent, eight bits.
 * @throws Error when the file is damaged or has more pixels than any job has.
 */
export async function decodePicture(file: Uint8Array): Promise<Picture> {
  const decoder = sharp(file, { limitInputPixels: MAX_PIXELS, failOn: 'warning' });
  const { data, info } = await decoder
    .toColourspace('srgb')
    .flatten({ background: '#ffffff' })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { rgb: data, width: info.width, height: info.height };
}
