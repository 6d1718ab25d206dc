/**
 * The latest pictures, found by their pixels and by their looks: a map for equal ones, one pass over packed hashes for near
 * ones. Memory is bounded: a new picture takes the oldest one's place. Pure; the picture rule owns one.
 */
import { HASH_BITS } from '@studio/shared/domain/dct-hash';

/** What the index needs to know of a picture. */
export interface Indexed {
  pixelHash: string;
  /** Null for pictures that were stored before hashes were: only their equals are found. */
  dctHash: string | null;
}

export interface Near<T> {
  picture: T;
  /** Bits of 256 that differ. */
  distance: number;
}

const WORD_BITS = 32;
const WORDS = HASH_BITS / WORD_BITS;
const WORD_DIGITS = WORD_BITS / 4;

export class PictureIndex<T extends Indexed> {
  /** By slot; hashes are WORDS numbers each. */
  private readonly pictures: T[] = [];
  private readonly hashes: Uint32Array;
  private readonly hashed: Uint8Array;
  private readonly equals = new Map<string, Set<number>>();
  private next = 0;

  constructor(private readonly capacity: number) {
    this.hashes = new Uint32Array(WORDS * capacity);
    this.hashed = new Uint8Array(capacity);
  }

  add(picture: T): void {
    const slot = this.next;
    this.next = (slot + 1) % this.capacity;
    const replaced = this.pictures[slot];
    if (replaced) this.forget(replaced.pixelHash, slot);
    this.pictures[slot] = picture;
    this.hashed[slot] = picture.dctHash === null ? 0 : 1;
    if (picture.dctHash !== null) this.hashes.set(wordsOf(picture.dctHash), WORDS * slot);
    const equals = this.equals.get(picture.pixelHash);
    if (equals) equals.add(slot);
    else this.equals.set(picture.pixelHash, new Set([slot]));
  }

  /** Those with exactly these pixels. */
  equalTo({ pixelHash }: Indexed): T[] {
    return [...(this.equals.get(pixelHash) ?? [])].map((slot) => this.pictures[slot]!);
  }

  /** Those with other pixels whose hashes are at most `most` bits away. */
  near({ pixelHash, dctHash }: Indexed, most: number): Near<T>[] {
    const found: Near<T>[] = [];
    if (dctHash === null) return found;
    const words = wordsOf(dctHash);
    const [first, second] = [words[0]!, words[1]!];
    const { hashes, hashed, pictures } = this;
    for (let slot = 0, at = 0; slot < pictures.length; slot += 1, at += WORDS) {
      // Of two unrelated pictures about 32 of the first 64 bits differ: hardly any needs a look at the rest.
      let distance = ones(first ^ hashes[at]!) + ones(second ^ hashes[at + 1]!);
      if (distance > most || hashed[slot] === 0) continue;
      for (let word = 2; word < WORDS; word += 1) distance += ones(words[word]! ^ hashes[at + word]!);
      if (distance > most || pictures[slot]!.pixelHash === pixelHash) continue;
      found.push({ picture: pictures[slot]!, distance });
    }
    return found;
  }

  private forget(pixelHash: string, slot: number): void {
    const equals = this.equals.get(pixelHash);
    equals?.delete(slot);
    if (equals?.size === 0) this.equals.delete(pixelHash);
  }
}

function wordsOf(hash: string): Uint32Array {
  return Uint32Array.from({ length: WORDS }, (_, word) =>
    parseInt(hash.slice(word * WORD_DIGITS, (word + 1) * WORD_DIGITS), 16),
  );
}

/** Bits set in a 32-bit number: added up in pairs, fours and bytes, and the bytes by one multiplication. */
function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
