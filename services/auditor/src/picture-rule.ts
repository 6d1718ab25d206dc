/**
 * Every picture is compared with the latest ones, whoever made them: one that equals or resembles a picture that another
 * input asked for was not rendered. Inputs that honestly give the same are told apart (picture-source.ts), and suspicion
 * alone convicts nobody: the job is audited, and the replay decides.
 */
import type { Photographs } from './photographs';
import { PictureIndex, type Indexed } from './picture-index';
import { coincidence, pictureSource, type PictureSource } from './picture-source';
import type { PictureRow, PictureStore, WalkPosition } from './picture.store';
import type { Suspect } from './suspects.store';

/**
 * Bits of 256 up to which two pictures resemble each other. A copy that is recompressed, scaled or noisy is 8 away at most;
 * of 99,000 pairs of honest renderings with two photographs' LoRAs, at a fifth of their strength and more, none is below 30.
 */
const RESEMBLANCE = 16;

export const SIZES = {
  /** Pictures kept in memory, 1.3 kB each. A pass over all of their hashes takes 0.3 ms. */
  remembered: 50_000,
  /** Draws of one run. */
  batch: 200,
};
/** Pictures between two turns of the event loop. */
const TURN = 8;

interface Picture extends Indexed {
  jobId: string;
  /** Of the job's pictures, from 0. */
  index: number;
  finishedUs: number;
  suspectable: boolean;
  reference: boolean;
  source: PictureSource;
}

interface Match {
  picture: Picture;
  /** Null: equal pixels. */
  distance: number | null;
}

export class PictureRule {
  private recent: PictureIndex<Picture>;
  /** What `recent` holds everything up to; undefined: it may hold what is still to be checked. */
  private position: WalkPosition | undefined;

  constructor(
    private readonly store: PictureStore,
    private readonly photographs: Pick<Photographs, 'areOne'>,
    /** Hears of suspects: their audits are due. */
    private readonly onSuspects: () => void,
    /** Hears that pictures were checked: an epoch may be waiting for them. */
    private readonly onChecked: () => void,
    private readonly sizes = SIZES,
  ) {
    this.recent = new PictureIndex(sizes.remembered);
  }

  /** One batch; after a start, of what was checked before and is only remembered. @returns whether more draws are known to wait. */
  async run(): Promise<boolean> {
    const from = this.position ?? (await this.startAgain());
    const rows = await this.store.after(from, this.sizes.batch);
    this.position = undefined;
    const suspects = new Map<string, Suspect>();
    for (const [at, { picture, checked }] of rows.flatMap(picturesOf).entries()) {
      if (at % TURN === TURN - 1) await new Promise((resolve) => setImmediate(resolve));
      if (!checked) await this.check(picture, suspects);
      this.recent.add(picture);
    }
    const last = rows.at(-1);
    if (last && !last.checked) await this.note(last, [...suspects.values()]);
    this.position = last ?? from;
    return rows.length === this.sizes.batch;
  }

  private async startAgain(): Promise<WalkPosition> {
    this.recent = new PictureIndex(this.sizes.remembered);
    return this.store.start(this.sizes.remembered);
  }

  private async note(last: WalkPosition, suspects: readonly Suspect[]): Promise<void> {
    await this.store.checked(last, suspects);
    if (suspects.length > 0) this.onSuspects();
    this.onChecked();
  }

  private async check(picture: Picture, suspects: Map<string, Suspect>): Promise<void> {
    await this.checkAgainst(picture, this.recent.equalTo(picture).map(equalMatch), suspects);
    await this.checkAgainst(picture, this.recent.near(picture, RESEMBLANCE), suspects);
  }

  /**
   * The first of all that look the same is the original, and explains the others or makes them copies. Later ones had to
   * stand beside it themselves: they are looked at only when this picture, read late, comes before all of them.
   */
  private async checkAgainst(
    picture: Picture,
    matches: readonly Match[],
    suspects: Map<string, Suspect>,
  ): Promise<void> {
    const first = matches.reduce<Match | undefined>(earlier, undefined);
    if (!first) return;
    if (isBefore(first.picture, picture)) return this.compare(first.picture, picture, first.distance, suspects);
    for (const match of matches) await this.compare(picture, match.picture, match.distance, suspects);
  }

  private async compare(
    original: Picture,
    copy: Picture,
    distance: number | null,
    suspects: Map<string, Suspect>,
  ): Promise<void> {
    // A reference tells the truth: what resembled its picture before it was made is what is wrong.
    const suspect = copy.suspectable ? copy : copy.reference && original.suspectable ? original : undefined;
    if (!suspect || suspects.has(suspect.jobId)) return;
    if (!(await this.isCopied(original.source, copy.source, distance))) return;
    const copyOf = suspect === copy ? original.jobId : copy.jobId;
    suspects.set(suspect.jobId, {
      jobId: suspect.jobId,
      suspicion: { of: 'picture', copyOf, picture: suspect.index, distance },
    });
  }

  /** Of equal pixels it takes an explanation to be honest, of mere resemblance it takes two photographs to be a copy. */
  private async isCopied(a: PictureSource, b: PictureSource, distance: number | null): Promise<boolean> {
    const judged = coincidence(a, b, distance === null);
    if (judged !== 'by-photograph') return judged === 'copied';
    const onePhotograph = await this.photographs.areOne(a.loraSha256, b.loraSha256);
    return distance === null ? onePhotograph !== true : onePhotograph === false;
  }
}

function picturesOf({ input, pictures, engine, jobId, finishedUs, suspectable, reference, checked }: PictureRow): {
  picture: Picture;
  checked: boolean;
}[] {
  if (!input) return [];
  return pictures.map(({ pixelHash, dctHash }, index) => ({
    picture: {
      pixelHash,
      dctHash,
      jobId,
      index,
      finishedUs,
      suspectable,
      reference,
      source: pictureSource(engine, input, index),
    },
    checked,
  }));
}

const equalMatch = (picture: Picture): Match => ({ picture, distance: null });

const earlier = (first: Match | undefined, next: Match): Match =>
  first && isBefore(first.picture, next.picture) ? first : next;

/** By the end of their jobs; the job's id and the place in it settle the rest. */
function isBefore(a: Picture, b: Picture): boolean {
  if (a.finishedUs !== b.finishedUs) return a.finishedUs < b.finishedUs;
  return a.jobId === b.jobId ? a.index < b.index : a.jobId < b.jobId;
}
