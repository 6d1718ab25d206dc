/** Were two LoRAs trained on one photograph? Then their pictures look alike, honestly. */
import sharp from 'sharp';
import { dctHash, hashDistance } from '@studio/shared/domain/dct-hash';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { PictureStore } from './picture.store';

/**
 * Bits of 256 below which two photographs are one: re-encoded, resized, brightened 6 at most, cut to the middle nine tenths
 * 72 (the three of this repository); two different ones 110 and more.
 */
const ONE_PHOTOGRAPH = 90;
/** Fine enough for a hash of 32×32 cells, and small whatever was uploaded. */
const SIDE = 64;
/** LoRAs whose photographs are remembered: 200 bytes each. */
const REMEMBERED = 10_000;

export class Photographs {
  /** By the LoRA's file. */
  private readonly hashes = new Map<string, string | null>();

  constructor(
    private readonly store: Pick<PictureStore, 'photographOf'>,
    private readonly artifacts: Pick<ArtifactStore, 'read'>,
  ) {}

  /** Null when one of the photographs is not known: that LoRA came from a client, or the file is gone. */
  async areOne(loraSha256: string, otherSha256: string): Promise<boolean | null> {
    const [one, other] = [await this.hashOf(loraSha256), await this.hashOf(otherSha256)];
    return one === null || other === null ? null : hashDistance(one, other) < ONE_PHOTOGRAPH;
  }

  private async hashOf(loraSha256: string): Promise<string | null> {
    const known = this.hashes.get(loraSha256);
    if (known !== undefined) return known;
    const hash = await this.computed(loraSha256);
    const [oldest] = this.hashes.keys();
    if (this.hashes.size >= REMEMBERED && oldest !== undefined) this.hashes.delete(oldest);
    this.hashes.set(loraSha256, hash);
    return hash;
  }

  private async computed(loraSha256: string): Promise<string | null> {
    const sha256 = await this.store.photographOf(loraSha256);
    const file = sha256 === undefined ? undefined : await this.artifacts.read(sha256);
    if (!file) return null;
    const image = sharp(file).removeAlpha().toColourspace('srgb').resize(SIDE, SIDE, { fit: 'fill' });
    return dctHash(await image.raw().toBuffer(), SIDE, SIDE);
  }
}
