import fc from 'fast-check';
import { flatness, isBlank, isFlatPhotograph, isOverdriven } from './blank';

const PIXELS = 64 * 64;
/** `PIXELS` pixels, by number. */
const picture = (colour: (pixel: number) => readonly [number, number, number]): Uint8Array =>
  Uint8Array.from(Array.from({ length: PIXELS }, (_, pixel) => colour(pixel)).flat());
const grey = (level: (pixel: number) => number): Uint8Array =>
  picture((pixel) => [level(pixel), level(pixel), level(pixel)]);
/** Chance enough, and the same every time. */
const dice = (pixel: number, sides: number): number => (Math.imul(pixel + 1, 2_654_435_761) >>> 8) % sides;

const blank = (rgb: Uint8Array, overdriven = false): boolean => isBlank(flatness(rgb), overdriven);

describe('the flatness of a picture', () => {
  it('is what the definitions give', () => {
    // Levels that are near each other, and any.
    const level = fc.oneof(fc.integer({ min: 100, max: 112 }), fc.nat(255));
    const rgb = fc
      .array(fc.tuple(level, level, level), { minLength: 1, maxLength: 30 })
      .map((pixels) => Uint8Array.from(pixels.flat()));
    fc.assert(
      fc.property(rgb, (bytes) => {
        const channels = [0, 1, 2].map((c) => [...bytes].filter((_, i) => i % 3 === c));
        const variances = channels.map((levels) => {
          const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
          return levels.reduce((sum, level) => sum + (level - mean) ** 2, 0) / levels.length;
        });
        const medians = channels.map((levels) => [...levels].sort((a, b) => a - b)[Math.ceil(levels.length / 2) - 1]!);
        const near = channels[0]!.filter((_, pixel) =>
          medians.every((level, c) => Math.abs(channels[c]![pixel]! - level) <= 4),
        );
        const found = flatness(bytes);
        expect(found.variance).toBeCloseTo(Math.max(...variances), 6);
        expect(found.common).toEqual(medians);
        expect(found.commonShare).toBeCloseTo(near.length / channels[0]!.length, 10);
      }),
    );
  });
});

describe('a result', () => {
  it.each<[string, Uint8Array]>([
    ['one colour', picture(() => [64, 128, 192])],
    ['one white pixel on black', grey((pixel) => (pixel === 1_000 ? 255 : 0))],
    [
      'twenty pixels of any colour on one',
      picture((pixel) => (pixel % 210 === 0 ? [pixel % 256, 255, 0] : [9, 9, 90])),
    ],
    ['noise of ±1', grey((pixel) => 127 + dice(pixel, 3))],
    ['noise of ±2', picture((pixel) => [200 + dice(pixel, 5), 100 + dice(pixel * 3, 5), dice(pixel * 7, 5)])],
    ['noise of ±4 with strays', grey((pixel) => (pixel === 5 ? 255 : 100 + dice(pixel, 9)))],
    ['dots of one per cent, hardly brighter', grey((pixel) => (pixel % 100 === 0 ? 106 : 100))],
    ['a gradient over six levels', grey((pixel) => 100 + Math.floor((pixel * 6) / PIXELS))],
    ['stripes three levels apart', grey((pixel) => 100 + (pixel % 2) * 3)],
    ['a watermark of 4 × 5 on black', grey((pixel) => (pixel % 64 < 4 && pixel < 5 * 64 ? 255 : 0))],
  ])('of %s is blank', (_, rgb) => {
    expect(blank(rgb)).toBe(true);
  });

  it.each<[string, Uint8Array]>([
    ['noise of ±8', grey((pixel) => 120 + dice(pixel, 17))],
    ['a dark half', grey((pixel) => (pixel < PIXELS / 2 ? 0 : 9))],
    ['a dot of one per cent', grey((pixel) => (pixel < PIXELS / 100 ? 60 : 0))],
    ['a gradient over thirty levels', grey((pixel) => Math.floor((pixel * 30) / PIXELS))],
  ])('of %s is not', (_, rgb) => {
    expect(blank(rgb)).toBe(false);
  });

  it('that a LoRA scale beyond 1 drove to black or white is let through, a grey one is not', () => {
    const black = grey(() => 0);
    const yellow = picture(() => [255, 255, 0]);
    const middle = grey(() => 128);
    expect([black, yellow, middle].map((rgb) => blank(rgb, true))).toEqual([false, false, true]);
    expect([black, yellow, middle].map((rgb) => blank(rgb, false))).toEqual([true, true, true]);
  });

  it('can be overdriven only beyond 1, and only where tier 2 compares bits', () => {
    expect([0, 1, 1.01, 2].map((scale) => isOverdriven('ref-sep-v1', scale))).toEqual([false, false, true, true]);
    expect(isOverdriven('flux', 2)).toBe(false);
  });
});

describe('a photograph', () => {
  it('is flat well before a rendering of it would be blank', () => {
    const flat = [grey((pixel) => (pixel < PIXELS / 150 ? 255 : 0)), grey((pixel) => 100 + dice(pixel, 13))];
    for (const rgb of flat) {
      expect(isFlatPhotograph(flatness(rgb))).toBe(true);
      expect(blank(rgb)).toBe(false);
    }
    expect(isFlatPhotograph(flatness(grey((pixel) => (pixel < PIXELS / 50 ? 255 : 0))))).toBe(false);
  });
});
