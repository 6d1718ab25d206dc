/** The pictures of the report. */
import type { EChartsOption, SeriesOption } from 'echarts';
import { FALSE_FLAGS, HONEST_LENGTH } from './detection';
import { COSTS, honestProfit, type Profit } from './earnings';
import { RATES } from './profiles';
import { PRODUCTION_FACTOR } from './reversal-factor';
import type { Results } from './simulate-audit';
import { percent } from './strategies';

/** By the file's name, without its ending. */
export function chartsOf(results: Results): Record<string, EChartsOption> {
  return {
    'audit-detection': detection(results),
    'audit-false-flags': falselyFlagged(results),
    'audit-profit': profitByRate(results),
    'audit-careful': carefulOnes(results),
    'audit-reversals': reversals(results),
  };
}

/** Okabe and Ito's colours, which people with any colour vision tell apart. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const GREY = '#555555';

/** The pictures of profits by strategy are at the highest cost, where cheating saves most. */
const DEAREST = COSTS.length - 1;

type Line = Extract<SeriesOption, { type?: 'line' }>;
type Points = (number | string)[][];

const line = (name: string, data: Points): Line => ({ type: 'line', name, data, symbol: 'none' });
const dotted = (name: string, data: Points): Line => ({ ...line(name, data), symbol: 'circle', symbolSize: 7 });
const dashed = (name: string, data: Points, color: string): Line => ({
  ...line(name, data),
  lineStyle: { type: 'dashed', color, width: 1.5 },
  itemStyle: { color },
});

const level = (name: string, value: number, until: number): Line =>
  dashed(
    name,
    [
      [0, value],
      [until, value],
    ],
    GREY,
  );

/** Dashed lines across a chart, without a place in its legend. */
const marks = (data: ({ xAxis: number } | { yAxis: number })[]): NonNullable<Line['markLine']> => ({
  symbol: 'none',
  label: { show: false },
  lineStyle: { color: GREY, type: 'dashed' },
  data,
});

interface Frame {
  title: string;
  subtext: string;
  /** What the axes count, in which unit. */
  x: string;
  y: string;
}

/** @param axes settings of the two axes on top of their names. */
function chart(
  { title, subtext, x, y }: Frame,
  axes: { x?: object; y?: object },
  series: SeriesOption[],
): EChartsOption {
  const named = (name: string, nameGap: number) => ({ type: 'value', name, nameLocation: 'middle', nameGap });
  return {
    color: COLOURS,
    title: { text: title, subtext, left: 'center' },
    legend: { bottom: 0, itemGap: 24, itemWidth: 30 },
    grid: { left: 90, right: 40, top: 80, bottom: 90 },
    xAxis: { ...named(x, 32), ...axes.x },
    yAxis: { ...named(y, 58), ...axes.y },
    series,
  } as EChartsOption;
}

/** To a thousandth of a percent: some shares are that small. */
const inPercent = { axisLabel: { formatter: (share: number) => `${+(100 * share).toFixed(3)} %` } };

function detection({ flagTimes }: Results): EChartsOption {
  const frame = {
    title: 'How soon a cheating miner is found',
    subtext: 'verdicts at once, 100 jobs an epoch; dashed: half of the miners, and 99 %',
    x: 'jobs done (of a turning miner: since it turned)',
    y: 'share of the miners in quarantine',
  };
  const [first, ...others] = flagTimes.map(({ name, curve }) => line(name, curve));
  const marked = { ...first, markLine: marks([{ yAxis: 0.5 }, { yAxis: 0.99 }]) };
  const axes = { x: { type: 'log', min: 1, max: 10_000 }, y: { max: 1, ...inPercent } };
  return chart(frame, axes, [marked, ...others]);
}

function falselyFlagged({ falseFlags }: Results): EChartsOption {
  const frame = {
    title: 'Honest miners that are found guilty',
    subtext: 'by the share of honest audited jobs whose failure is confirmed by mishap',
    x: 'honest jobs done',
    y: 'share of the honest miners ever in quarantine',
  };
  const { rate, least, most } = FALSE_FLAGS;
  const promise = `promised for ${percent(rate)} after 10,000 jobs: ${percent(least)} to ${percent(most)}`;
  const series = falseFlags.map(({ failureRate, curve }) => {
    return { ...line(`${percent(failureRate)} confirmed false failures`, curve), step: 'end' as const };
  });
  const x = { max: HONEST_LENGTH, axisLabel: { formatter: (jobs: number) => jobs.toLocaleString('en') } };
  const levels = [least, most].map((share) => level(promise, share, HONEST_LENGTH));
  return chart(frame, { x, y: inPercent }, [...series, ...levels]);
}

function profitByRate({ members }: Results): EChartsOption {
  const frame = {
    title: 'What cheating earns',
    subtext: 'quarantine served; cost of an honest job as a share of its reward; dashed: honesty at the same cost',
    x: 'share of the jobs that a miner cheats on',
    y: 'profit per job offered, in rewards',
  };
  const names = [0, ...RATES].map(percent);
  const byRate = members.slice(0, names.length);
  const profits = COSTS.map((cost, i) =>
    dotted(
      `cost ${cost}`,
      byRate.map(({ byCost }, at) => [names[at]!, byCost[i]!.mean]),
    ),
  );
  const honest = COSTS.map((cost, i) => {
    const name = `honest, cost ${cost}`;
    return dashed(
      name,
      names.map((rate) => [rate, honestProfit(cost)]),
      COLOURS[i]!,
    );
  });
  return chart(frame, { x: { type: 'category', data: names } }, [...profits, ...honest]);
}

function carefulOnes({ members, found, renewing }: Results): EChartsOption {
  const frame = {
    title: 'Careful cheaters',
    subtext: 'right of the dashed line a strategy earns more than honesty',
    x: `profit per job offered at a cost of ${COSTS[DEAREST]}, in rewards`,
    y: '',
  };
  const [honest, ...cheaters] = members;
  const careful = cheaters.filter(({ name }) => /^(careful|clairvoyant)/.test(name));
  const hitters = renewing.filter(({ name }) => name.startsWith('hit and run'));
  // The category axis begins at the bottom.
  const all = [honest!, ...careful, ...found.best, ...hitters].reverse();
  const bars = (name: string, which: (profit: Profit) => boolean, color: string): SeriesOption => ({
    type: 'bar',
    name,
    stack: 'one',
    itemStyle: { color },
    data: all.map((profit) => (which(profit) ? profit.byCost[DEAREST]!.mean : null)),
    markLine: marks([{ xAxis: honestProfit(COSTS[DEAREST]!) }]),
  });
  const y = { type: 'category', data: all.map(({ name }) => name), axisLabel: { interval: 0 } };
  const series = [
    bars('keeps its hotkey', (profit) => !hitters.includes(profit), COLOURS[0]!),
    bars('gets new hotkeys for nothing', (profit) => hitters.includes(profit), COLOURS[1]!),
  ];
  return { ...chart(frame, { y }, series), grid: { left: 400, right: 40, top: 80, bottom: 90 } };
}

function reversals({ sweep }: Results): EChartsOption {
  const frame = {
    title: 'What reversing neighbours is for',
    subtext: `a cheater that sees every suspicion at once, cost ${COSTS[DEAREST]}; the policy takes ${PRODUCTION_FACTOR}`,
    x: 'expected failures per detection that fall with it',
    y: 'profit per job offered, in rewards',
  };
  const profits = sweep.map(({ factor, profit }) => [factor, profit.byCost[DEAREST]!.mean]);
  const honest = honestProfit(COSTS[DEAREST]!);
  const series = [dotted('cheats whenever nobody suspects it', profits), level('honest', honest, PRODUCTION_FACTOR)];
  return chart(frame, { x: { max: PRODUCTION_FACTOR } }, series);
}
