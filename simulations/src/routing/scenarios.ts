/** What is simulated: who the miners are, what happens, and what the routing promises. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';
import type { Summary } from './figures';
import type { LaneOptions } from './lane-run';
import { equals, mixed, type SimMiner } from './population';

export interface Size {
  miners: number;
  operators: number;
  /** Virtual time, in usual jobs. */
  spanJobs: number;
}

export interface Scenario {
  name: string;
  what: string;
  /** The hotkeys of those that behave unlike the others. */
  special: (miners: readonly SimMiner[]) => SimMiner[];
  miners: (size: Size & { spanMs: number }, chance: Chance) => SimMiner[];
  options?: (spanMs: number) => Partial<LaneOptions>;
  /** Only inference has LoRAs. */
  kinds?: readonly LaneOptions['lane']['kind'][];
  broken: (summary: Summary) => string[];
}

/** The promises of docs/routing.md. */
const MOST_GINI = 0.1;
const NEWCOMER_WITHIN_MS = 300_000;
/** What a miner gains by a lie or loses by bad luck, at most, per slot that it really has. */
const MOST_GAIN = 1.5;

const NOBODY = (): SimMiner[] => [];
const some = (share: number, change: Partial<SimMiner>) => (miners: SimMiner[]) =>
  miners.map((miner, i) => (i % Math.round(1 / share) === 0 ? { ...miner, ...change } : miner));

const fair = ({ gini }: Summary): string[] =>
  gini < MOST_GINI ? [] : [`the Gini coefficient of equals is ${gini.toFixed(3)}, promised is less than ${MOST_GINI}`];
const nobodyStarves = ({ starved }: Summary): string[] =>
  starved === 0 ? [] : [`${starved} miners that could have been asked were not`];
const noGain = ({ special }: Summary): string[] =>
  special && special.donePerSlot > MOST_GAIN
    ? [`they got ${special.donePerSlot.toFixed(2)} times the others' jobs per slot that they have`]
    : [];

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'equals',
    what: 'all miners are the same',
    miners: ({ miners, operators }) => equals(miners, operators),
    special: NOBODY,
    broken: (summary) => [...fair(summary), ...nobodyStarves(summary)],
  },
  {
    name: 'mixed',
    what: '1 to 8 slots, half to twice the usual time, up to 5 % failures',
    miners: ({ miners, operators }, chance) => mixed(miners, operators, chance),
    special: NOBODY,
    broken: nobodyStarves,
  },
  {
    name: 'newcomer',
    what: 'as mixed; one more miner joins halfway',
    miners: ({ miners, operators, spanMs }, chance) => [
      ...mixed(miners, operators, chance),
      { ...equals(1, 1)[0]!, hotkey: 'newcomer', operator: 'newcomer', joinsAtMs: spanMs / 2 },
    ],
    special: (miners) => miners.filter(({ joinsAtMs }) => joinsAtMs > 0),
    broken: (summary) => {
      const { firstJobMs } = summary;
      const isLate = firstJobMs === undefined || firstJobMs >= NEWCOMER_WITHIN_MS;
      return [...nobodyStarves(summary), ...(isLate ? ['the newcomer got no job within five minutes'] : [])];
    },
  },
  {
    name: 'refusers',
    what: 'one miner in ten answers 429 half of the time',
    miners: ({ miners, operators }) => some(0.1, { refusalRate: 0.5 })(equals(miners, operators)),
    special: (miners) => miners.filter(({ refusalRate }) => refusalRate > 0),
    broken: (summary) => [...fair(summary), ...nobodyStarves(summary), ...noGain(summary)],
  },
  {
    name: 'boaster',
    what: 'one miner declares 64 slots and has 2',
    miners: ({ miners, operators }) =>
      equals(miners, operators).map((miner, i) => (i === 0 ? { ...miner, declared: 64, actual: 2 } : miner)),
    special: (miners) => miners.filter(({ declared, actual }) => declared > actual),
    broken: (summary) => [...fair(summary), ...nobodyStarves(summary), ...noGain(summary)],
  },
  {
    name: 'hangers',
    what: 'one miner in twenty accepts and never answers',
    miners: ({ miners, operators }) => some(0.05, { hangs: true })(equals(miners, operators)),
    special: (miners) => miners.filter(({ hangs }) => hangs),
    broken: (summary) => [...fair(summary), ...nobodyStarves(summary)],
  },
  {
    name: 'flush',
    what: 'Redis is emptied halfway',
    miners: ({ miners, operators }) => equals(miners, operators),
    special: NOBODY,
    options: (spanMs) => ({ flushAtMs: spanMs / 2 }),
    broken: (summary) => [
      ...fair(summary),
      ...nobodyStarves(summary),
      ...(summary.overbooked > 0 ? [`a miner was asked for ${summary.overbooked} jobs more than it had slots`] : []),
    ],
  },
  {
    name: 'popular LoRAs',
    what: '1,000 LoRAs of 40 MB, the n-th wanted 1/n as often as the first; a miner keeps 20',
    miners: ({ miners, operators }) => equals(miners, operators),
    special: NOBODY,
    options: () => ({ loras: 1_000, transferMs: TRANSFER_MS.large }),
    kinds: ['lora-inference'],
    broken: (summary) => [...fair(summary), ...nobodyStarves(summary)],
  },
  {
    name: '… without preference',
    what: 'the same, and holders are not preferred',
    miners: ({ miners, operators }) => equals(miners, operators),
    special: NOBODY,
    options: () => ({
      loras: 1_000,
      transferMs: TRANSFER_MS.large,
      policy: { ...DEFAULT_POLICY.routing, loraLeadTurns: -1 },
    }),
    kinds: ['lora-inference'],
    broken: fair,
  },
];

/** At 100 Mbit/s: a diffusion model's LoRA of 40 MB, and one of the reference engine of 35 kB. */
export const TRANSFER_MS = { large: 3_200, small: 2.8 } as const;
