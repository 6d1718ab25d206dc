/**
 * Whether an adapter does what it was trained for, by what a trusted engine renders with it. Used only where `exact` is not
 * available: training on GPUs ends in other bits on every machine, so tensors cannot be compared.
 *
 * The measure is the trusted engine's own adapter of the same job (photograph, steps, rank and seed), not an absolute
 * quality: a client may ask for few steps, and an honest miner must not be convicted for them.
 */
import { meanSquaredError, psnr, variance, type Picture } from './pixels';

/** An engine that the auditor runs itself. */
export interface TrustedEngine {
  /** Side × side pixels. Warp 0 shows the training image whatever the seed is; with warp 1 the seed bends it fully. */
  render(lora: Uint8Array, options: { seed: number; side: number; warp: number }): Picture;
}

export interface FunctionalQuestion {
  /** The adapter in question, and the trusted engine's own: `.safetensors` files. */
  target: Uint8Array;
  own: Uint8Array;
  /** The training image: square, as the miner was given it. */
  image: Picture;
  /** Not known to the miner: an adapter that was made to look right under the seeds of its job shows itself. */
  secretSeed: number;
  /** How many dB worse than `own` the target may show the photograph. */
  withinDb?: number;
}

/** Figures for the evidence, all finite. A type and not an interface: evidence takes figures by any name. */
export type FunctionalDistances = {
  /** How well each shows the photograph, in dB. */
  psnrTarget: number;
  psnrOwn: number;
  /** How far the second seed moves the target's picture, over how far it moves own's. 0: it ignores the seed. */
  secondSeedResponse: number;
  /** Difference of the two pictures under the second seed, in variances of own's. 1: as far off as a flat colour. */
  secondSeedDifference: number;
  /** Difference of own's picture from itself at twice the size, in its variances. */
  ownUnsteadiness: number;
};

export interface FunctionalVerdict {
  agrees: boolean;
  distances: FunctionalDistances;
  /** A whole sentence, for people. */
  reason: string;
}

/**
 * Honest adapters of one job, with 0.1–3 % noise on every gradient as between machines, are at most 0.5 dB apart up to
 * 300 steps (photographs at 32² and 64²); a quarter of the steps is 4.6–9.4 dB worse, another photograph's adapter 13–29.
 */
const WITHIN_DB = 2;

/**
 * Beyond this (an error of 4 grey levels) own is not followed: 1,000 steps at 32² end anywhere from 40 to 55 dB by the noise
 * of the gradients alone.
 */
const BEST_DB = 36;

/**
 * Honest: 0.70–1.43, the ends after 20 steps. An adapter that ignores the seed has 0. Only the lower end is judged: what
 * moves too far is another picture, and the difference shows it.
 */
const LEAST_RESPONSE = 1 / 3;

/** Honest: 0.97 after 5 steps, 0.4 after 20, 0.03–0.3 later; another photograph's adapter: 1.3 and more. */
const MOST_DIFFERENCE = 1;

/**
 * An adapter of a tiny or nearly flat photograph holds at its pixels and is anything between them; the second seed looks
 * between them. At 64² this is 0.00–0.02, at 32² at most 0.04 before 1,000 steps; honest adapters beyond differ by up to
 * 2 variances (16²: 0.25–1; a tenth of the contrast at 32²: 0.15–0.5), so the second seed is not judged there.
 */
const MOST_UNSTEADINESS = 0.04;

/** @throws RangeError when the image is not square. */
export function functionalCheck(engine: TrustedEngine, question: FunctionalQuestion): FunctionalVerdict {
  const { image, withinDb = WITHIN_DB } = question;
  if (image.width !== image.height) throw new RangeError('a training image is square');
  const distances = measureAdapters(engine, question);
  const complaint = qualityComplaint(distances, withinDb) ?? secondSeedComplaint(distances);
  return { agrees: complaint === undefined, distances, reason: complaint ?? praise(distances) };
}

function measureAdapters(
  engine: TrustedEngine,
  { target, own, image, secretSeed }: FunctionalQuestion,
): FunctionalDistances {
  const side = image.width;
  const still = (lora: Uint8Array): Picture => engine.render(lora, { seed: secretSeed, side, warp: 0 });
  const bent = (lora: Uint8Array): Picture => engine.render(lora, { seed: secretSeed, side, warp: 1 });
  const [targetStill, ownStill, targetBent, ownBent] = [still(target), still(own), bent(target), bent(own)];
  const twice = engine.render(own, { seed: secretSeed, side: 2 * side, warp: 0 });
  return {
    psnrTarget: psnr(targetStill, image),
    psnrOwn: psnr(ownStill, image),
    secondSeedResponse: share(meanSquaredError(targetBent, targetStill), meanSquaredError(ownBent, ownStill)),
    secondSeedDifference: share(meanSquaredError(targetBent, ownBent), variance(ownBent)),
    ownUnsteadiness: share(meanSquaredError(halved(twice), ownStill), variance(ownStill)),
  };
}

/** A flat picture has no variance and does not move: a tenth of a grey level keeps the figures finite. */
const NOTHING = (0.1 / 255) ** 2;

function share(part: number, whole: number): number {
  return (part + NOTHING) / (whole + NOTHING);
}

/** Each pixel the mean of four. */
function halved({ rgb, width, height }: Picture): Picture {
  const half = { rgb: new Uint8Array(rgb.length / 4), width: width / 2, height: height / 2 };
  const row = 3 * width;
  for (let y = 0, to = 0; y < height; y += 2) {
    for (let from = y * row; from < (y + 1) * row; from += 6) {
      for (let i = from; i < from + 3; i++, to++) {
        // Rounded half up: a byte array cuts off what follows the point.
        half.rgb[to] = (rgb[i]! + rgb[i + 3]! + rgb[i + row]! + rgb[i + row + 3]! + 2) / 4;
      }
    }
  }
  return half;
}

function qualityComplaint({ psnrTarget, psnrOwn }: FunctionalDistances, withinDb: number): string | undefined {
  const least = Math.min(psnrOwn, BEST_DB) - withinDb;
  if (psnrTarget >= least) return undefined;
  return `The adapter shows the photograph at ${db(psnrTarget)}, the trusted engine's own at ${db(psnrOwn)}; at least ${db(least)} were due.`;
}

function secondSeedComplaint(distances: FunctionalDistances): string | undefined {
  if (!isSteady(distances)) return undefined;
  const { secondSeedResponse: response, secondSeedDifference: difference } = distances;
  if (response < LEAST_RESPONSE) {
    return `The adapter hardly follows a second seed: its picture moves ${response.toFixed(2)} times as far as that of the trusted engine's own.`;
  }
  if (difference > MOST_DIFFERENCE) {
    return `Under a second seed the adapter shows another picture than the trusted engine's own: ${difference.toFixed(2)} variances apart.`;
  }
  return undefined;
}

function praise(distances: FunctionalDistances): string {
  const { psnrTarget, psnrOwn } = distances;
  const seed = isSteady(distances)
    ? 'follows a second seed as it does'
    : 'was not tried with a second seed, which tells nothing about so small or flat a photograph';
  return `The adapter shows the photograph at ${db(psnrTarget)}, the trusted engine's own at ${db(psnrOwn)}, and ${seed}.`;
}

function isSteady({ ownUnsteadiness }: FunctionalDistances): boolean {
  return ownUnsteadiness <= MOST_UNSTEADINESS;
}

function db(value: number): string {
  return `${value.toFixed(1)} dB`;
}
