import { withStrokedLabels } from './chart-image';
import { strokedLabel, textWidth } from './stroke-font';

const text = (attributes: string, content: string): string =>
  `<svg><text dominant-baseline="central" style="font-size:12px" ${attributes}>${content}</text></svg>`;

describe('labels of charts', () => {
  it('become lines, where the text stood', () => {
    const svg = withStrokedLabels(text('text-anchor="middle" x="50" y="20" fill="#123456"', 'x &lt; 5 %'));
    expect(svg).not.toContain('<text');
    expect(svg).toContain('stroke="#123456"');
    const left = Number(/translate\(([\d.]+) /.exec(svg)?.[1]);
    expect(left).toBeCloseTo(50 - textWidth('x < 5 %', 12) / 2, 3);
  });

  it('keep the turn of a label at the side', () => {
    expect(withStrokedLabels(text('transform="matrix(0,-1,1,0,42,270)"', 'a'))).toContain('matrix(0,-1,1,0,42,270)');
  });

  it('are refused where a character has no lines or the text is placed in another way', () => {
    expect(() => withStrokedLabels(text('', 'é'))).toThrow('no glyph for "é"');
    expect(() => withStrokedLabels('<svg><text x="1">a</text></svg>')).toThrow('not placed by its middle');
  });

  it('are as wide as they are drawn', () => {
    const label = { text: 'HH', x: 0, y: 0, fontSize: 18, isBold: false, anchor: 'start', fill: '#000' } as const;
    // At this size a unit is a pixel: two letters of 9 and a gap of 3.
    expect(textWidth('HH', 18)).toBe(21);
    expect(strokedLabel(label)).toContain('translate(12 0)');
  });
});
