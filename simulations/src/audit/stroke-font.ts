/**
 * Labels drawn as lines. A PNG is made by librsvg, which writes text with the machine's fonts, and where there are none it draws an
 * empty box for every letter. So no label is left to it: the same picture comes out on every machine.
 */

/** Height of a capital letter and the gap between two letters, in the units below; the baseline is at 0. */
const CAPITAL = 13;
const GAP = 3;
/** Units of one font size: capitals are then as high as in usual sans-serif fonts. */
const EM = 18;
const LINE_WIDTH = 1.5;
const BOLD_LINE_WIDTH = 2.2;

/** Width of each character, and its lines as an SVG path; x-height 9, descenders to +4. */
const GLYPHS: Record<string, [width: number, path: string]> = {
  ' ': [3, ''],
  A: [10, 'M0 0L5-13L10 0M1.7-4.5H8.3'],
  B: [9, 'M0 0V-13H5A3.1 3.1 0 0 1 5-6.8H0M5-6.8H5.6A3.4 3.4 0 0 1 5.6 0H0'],
  C: [10, 'M10-10.5A5.5 6.5 0 1 0 10-2.5'],
  D: [10, 'M0 0V-13H4A6 6.5 0 0 1 4 0H0'],
  E: [8, 'M8-13H0V0H8M0-6.8H7'],
  F: [8, 'M8-13H0V0M0-6.8H7'],
  G: [10.5, 'M10-10.5A5.5 6.5 0 1 0 10.5-3V-6.3H6.5'],
  H: [9, 'M0 0V-13M9 0V-13M0-6.8H9'],
  I: [1, 'M.5 0V-13'],
  J: [6, 'M6-13V-3.5A3 3.5 0 0 1 0-3'],
  K: [9, 'M0 0V-13M9-13L0-5M3.5-8L9 0'],
  L: [8, 'M0-13V0H8'],
  M: [12, 'M0 0V-13L6-3L12-13V0'],
  N: [10, 'M0 0V-13L10 0V-13'],
  O: [11, 'M5.5-13A5.5 6.5 0 1 0 5.5 0A5.5 6.5 0 1 0 5.5-13'],
  P: [9, 'M0 0V-13H5.3A3.6 3.6 0 0 1 5.3-5.8H0'],
  Q: [11, 'M5.5-13A5.5 6.5 0 1 0 5.5 0A5.5 6.5 0 1 0 5.5-13M7-3L11 1'],
  R: [9, 'M0 0V-13H5.3A3.6 3.6 0 0 1 5.3-5.8H0M5-5.8L9 0'],
  S: [9, 'M8.5-10.5C7.5-14 .7-14 .7-9.8C.7-5.5 8.7-7.8 8.7-3.4C8.7 1 1 1.2 .2-2.8'],
  T: [9, 'M0-13H9M4.5-13V0'],
  U: [9, 'M0-13V-4.5A4.5 4.5 0 0 0 9-4.5V-13'],
  V: [10, 'M0-13L5 0L10-13'],
  W: [14, 'M0-13L3.5 0L7-11L10.5 0L14-13'],
  X: [9, 'M0-13L9 0M9-13L0 0'],
  Y: [9, 'M0-13L4.5-6.5L9-13M4.5-6.5V0'],
  Z: [9, 'M0-13H9L0 0H9'],
  a: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M7.5-9V0'],
  b: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M0-13V0'],
  c: [7, 'M7-7A3.9 4.5 0 1 0 7-2'],
  d: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M7.5-13V0'],
  e: [7.6, 'M0-4.8H7.6A3.8 4.4 0 1 0 6.9-1.6'],
  f: [4.5, 'M4.8-12.8C2.5-13.4 1.8-12 1.8-10V0M0-9H4.6'],
  g: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M7.5-9V.5A3.75 3.5 0 0 1 .6 2'],
  h: [7, 'M0-13V0M0-5.2C.5-10.2 7-10.4 7-5V0'],
  i: [1, 'M.5-9V0M.5-12.6V-12.2'],
  j: [3, 'M2.5-9V1.5C2.5 3.4 1.5 4 0 3.8M2.5-12.6V-12.2'],
  k: [7, 'M0-13V0M6.5-9L0-3.6M2.6-5.8L7 0'],
  l: [1, 'M.5-13V0'],
  m: [12, 'M0-9V0M0-5.4C.4-10 6-10.3 6-5V0M6-5.4C6.4-10 12-10.3 12-5V0'],
  n: [7, 'M0-9V0M0-5.2C.5-10.2 7-10.4 7-5V0'],
  o: [7.8, 'M3.9-9A3.9 4.5 0 1 0 3.9 0A3.9 4.5 0 1 0 3.9-9'],
  p: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M0-9V4'],
  q: [7.5, 'M3.75-9A3.75 4.5 0 1 0 3.75 0A3.75 4.5 0 1 0 3.75-9M7.5-9V4'],
  r: [4.5, 'M0-9V0M0-5C.3-8 2-9.4 4.6-8.9'],
  s: [6.5, 'M6.2-7C5.3-9.7 .6-9.7 .6-6.8C.6-3.8 6.3-5.4 6.3-2.3C6.3 .8 .9 .8 .1-2'],
  t: [4.5, 'M1.8-12V-2.6C1.8-.2 3 .3 4.8-.2M0-9H4.6'],
  u: [7, 'M0-9V-4C0 1.4 6.5 1.2 7-3.8M7-9V0'],
  v: [7.5, 'M0-9L3.75 0L7.5-9'],
  w: [11, 'M0-9L2.8 0L5.5-8L8.2 0L11-9'],
  x: [7, 'M0-9L7 0M7-9L0 0'],
  y: [7.5, 'M0-9L3.9 0M7.5-9L3.4 1.8C2.8 3.4 1.8 4 .4 3.8'],
  z: [6.5, 'M0-9H6.5L0 0H6.5'],
  0: [8, 'M4-13A4 6.5 0 1 0 4 0A4 6.5 0 1 0 4-13'],
  1: [5, 'M.5-10.3L4-13V0'],
  2: [8, 'M.4-9.6C.4-14.1 7.6-14.1 7.6-9.4C7.6-6.6 3-3.6 0 0H8'],
  3: [8, 'M.5-10.6C1.6-14 7.3-13.7 7.3-9.8C7.3-7.8 5.6-6.9 3.2-6.9C5.8-6.9 7.8-5.8 7.8-3.5C7.8 1 1 1 .2-2.7'],
  4: [8.5, 'M6.3 0V-13L0-4H8.5'],
  5: [8, 'M7.3-13H1.3L.8-7.3C2.5-8.6 7.9-8.9 7.9-4.2C7.9 .8 1.2 1 .2-2.5'],
  6: [8, 'M7-11.6C3.5-14.6 0-11.5 0-4.2M4-8.4A4 4.2 0 1 0 4 0A4 4.2 0 1 0 4-8.4'],
  7: [8, 'M0-13H8L3 0'],
  8: [8, 'M4-13A3.4 3.1 0 1 0 4-6.8A3.4 3.1 0 1 0 4-13M4-6.8A4 3.4 0 1 0 4 0A4 3.4 0 1 0 4-6.8'],
  9: [8, 'M1-1.4C4.5 1.6 8-1.5 8-8.8M4-13A4 4.2 0 1 0 4-4.6A4 4.2 0 1 0 4-13'],
  '.': [1, 'M.5-.4V0'],
  ',': [1.5, 'M1-.5V.2L.2 2.2'],
  ':': [1, 'M.5-8V-7.6M.5-.4V0'],
  ';': [1.5, 'M1-8V-7.6M1-.5V.2L.2 2.2'],
  '%': [12, 'M2.6-13A2.6 3 0 1 0 2.6-7A2.6 3 0 1 0 2.6-13M9.4-6A2.6 3 0 1 0 9.4 0A2.6 3 0 1 0 9.4-6M10.2-13L1.8 0'],
  '/': [5, 'M0 2L5-13'],
  '(': [3.5, 'M3.5-14C0-9.5 0-1.5 3.5 3'],
  ')': [3.5, 'M0-14C3.5-9.5 3.5-1.5 0 3'],
  '-': [4.5, 'M0-4.8H4.5'],
  '−': [8, 'M0-4.8H8'],
  '+': [8, 'M0-4.8H8M4-8.8V-.8'],
  '=': [8, 'M0-6.4H8M0-3.2H8'],
  '≤': [8, 'M8-10.6L0-7L8-3.4M0 0H8'],
  '<': [8, 'M8-8.6L0-4.8L8-1'],
  '>': [8, 'M0-8.6L8-4.8L0-1'],
};

/** The width of a label. A character without a glyph is as wide as it is high: ECharts takes the height of lines from one. */
export function textWidth(text: string, fontSize: number): number {
  const units = [...text].reduce((sum, character) => sum + (GLYPHS[character]?.[0] ?? EM - GAP) + GAP, -GAP);
  return (Math.max(0, units) * fontSize) / EM;
}

export interface Label {
  text: string;
  x: number;
  y: number;
  fontSize: number;
  isBold: boolean;
  anchor: 'start' | 'middle' | 'end';
  fill: string;
  /** Of the whole label, as SVG writes it. */
  transform?: string;
}

/** The label as an SVG group, its middle at `y`. @throws RangeError for a character that has no glyph. */
export function strokedLabel({ text, x, y, fontSize, isBold, anchor, fill, transform }: Label): string {
  const scale = fontSize / EM;
  const shift = { start: 0, middle: 0.5, end: 1 }[anchor] * textWidth(text, fontSize);
  let at = 0;
  const paths = [...text].map((character) => {
    const [width, path] = glyph(character);
    const placed = path === '' ? '' : `<path d="${path}" transform="translate(${round(at)} 0)"/>`;
    at += width + GAP;
    return placed;
  });
  const place = `translate(${round(x - shift)} ${round(y + (CAPITAL / 2) * scale)}) scale(${round(scale)})`;
  const line = `fill="none" stroke="${fill}" stroke-width="${isBold ? BOLD_LINE_WIDTH : LINE_WIDTH}"`;
  return `<g transform="${transform ? `${transform} ` : ''}${place}" ${line} stroke-linecap="round" stroke-linejoin="round">${paths.join('')}</g>`;
}

function glyph(character: string): [number, string] {
  const found = GLYPHS[character];
  if (!found) throw new RangeError(`no glyph for "${character}": add its lines to GLYPHS`);
  return found;
}

const round = (value: number): number => Math.round(value * 1_000) / 1_000;
