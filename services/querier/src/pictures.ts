/** Images as clients want them. What is stored is PNG, made by ourselves (checks/image-check.ts): nothing hostile is decoded here. */
import type { Presentation } from '@studio/shared/domain/job';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import sharp, { type Sharp } from 'sharp';

/** fal's own. */
const QUALITY = 95;

/** A PNG goes in, a JPEG comes out. */
export function toJpeg(): Sharp {
  return sharp().jpeg({ quality: QUALITY });
}

/** The image as a data URI. @throws Error when its file is gone. */
export async function inlined(store: ArtifactStore, sha256: string, { format }: Presentation): Promise<string> {
  const png = await store.read(sha256);
  if (!png) throw new Error(`image ${sha256} is not in the artifact store: restore it from a backup`);
  const bytes = format === 'jpeg' ? await sharp(png).jpeg({ quality: QUALITY }).toBuffer() : png;
  return `data:image/${format ?? 'png'};base64,${bytes.toString('base64')}`;
}
