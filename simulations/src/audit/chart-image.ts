/** A chart as a picture: ECharts lays it out as SVG, labels become lines, sharp makes the PNG. */
import { init, setPlatformAPI, type EChartsOption } from 'echarts';
import sharp from 'sharp';
import { strokedLabel, textWidth, type Label } from './stroke-font';

const WIDTH = 960;
const HEIGHT = 540;
/** Dots per CSS pixel: labels stay sharp where a page is enlarged. */
const DENSITY = 2;
/** What ECharts falls back to where a chart names no size. */
const DEFAULT_FONT_SIZE = 12;

export async function writeChart(path: string, option: EChartsOption): Promise<void> {
  const svg = withStrokedLabels(chartSvg(option));
  // 72 dots an inch is one per CSS pixel.
  await sharp(Buffer.from(svg), { density: 72 * DENSITY })
    .flatten({ background: '#ffffff' })
    .png({ palette: true, compressionLevel: 9 })
    .toFile(path);
}

function chartSvg(option: EChartsOption): string {
  // Without a browser ECharts would guess widths, of a font that is not the one drawn.
  setPlatformAPI({ measureText: (text, font) => ({ width: textWidth(text, fontSizeOf(font)) }) });
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({ animation: false, backgroundColor: '#ffffff', ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

const TEXT = /<text([^>]*)>([^<]*)<\/text>/g;

/** Every text of the chart in lines. @throws Error when one is written in a way that was not foreseen. */
export function withStrokedLabels(svg: string): string {
  const stroked = svg.replace(TEXT, (_, attributes: string, text: string) => strokedLabel(labelOf(attributes, text)));
  if (stroked.includes('<text')) throw new Error('a label of the chart was left to the fonts of this machine');
  return stroked;
}

function labelOf(attributes: string, text: string): Label {
  const read = (name: string): string | undefined => new RegExp(`(?:^| )${name}="([^"]*)"`).exec(attributes)?.[1];
  const style = read('style') ?? '';
  const transform = read('transform');
  if (read('dominant-baseline') !== 'central') throw new Error(`a label is not placed by its middle: ${text}`);
  return {
    text: text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&'),
    x: Number(read('x') ?? 0),
    y: Number(read('y') ?? 0),
    fontSize: fontSizeOf(style),
    isBold: /bold/.test(style),
    anchor: (read('text-anchor') ?? 'start') as Label['anchor'],
    fill: read('fill') ?? '#000000',
    ...(transform === undefined ? {} : { transform }),
  };
}

function fontSizeOf(font = ''): number {
  return Number(/([\d.]+)px/.exec(font)?.[1] ?? DEFAULT_FONT_SIZE);
}
