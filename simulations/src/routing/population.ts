/** The miners of a simulation: what they declare, what they have, and how they behave. */
import type { Chance } from '../chance';

export interface SimMiner {
  hotkey: string;
  operator: string;
  declared: number;
  /** Jobs that it really runs at once; more are refused with 429. */
  actual: number;
  /** A job takes so many times the usual. */
  slowness: number;
  /** Share of jobs that fail, and of requests that are refused although a slot is free. */
  failRate: number;
  refusalRate: number;
  /** Accepts every job and never answers. */
  hangs: boolean;
  /** Refuses with 429 what is long, and with a failure (422) where `fails`. */
  refusesLong?: 'busy' | 'fails';
  joinsAtMs: number;
}

const HONEST = { failRate: 0, refusalRate: 0, hangs: false, joinsAtMs: 0 };

/** All the same: whatever differs in what they get is the routing's doing. */
export function equals(count: number, operators: number): SimMiner[] {
  return Array.from({ length: count }, (_, i) => ({
    ...HONEST,
    hotkey: `miner-${i}`,
    operator: `operator-${i % operators}`,
    declared: 4,
    actual: 4,
    slowness: 1,
  }));
}

/** A network as it is: 1 to 8 slots, from half to twice the usual time, up to one failure in twenty. */
export function mixed(count: number, operators: number, chance: Chance): SimMiner[] {
  return equals(count, operators).map((miner, i) => {
    const slots = chance.whole(1, 8);
    return {
      ...miner,
      // Each operator has one miner, some have more.
      operator: i < operators ? miner.operator : `operator-${chance.whole(0, operators - 1)}`,
      declared: slots,
      actual: slots,
      slowness: chance.between(0.5, 2),
      failRate: chance.between(0, 0.05),
    };
  });
}
