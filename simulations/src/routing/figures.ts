/** What a run comes to. Requests are counted, not results: a refused or failed one has used the turn as well. */
import { gini } from '@studio/shared/domain/fairness';
import type { LaneFigures, MinerFigures } from './lane-run';
import type { SimMiner } from './population';

export interface Summary {
  jobs: number;
  failedJobs: number;
  /** Of the requests per slot of the miners that behave like most: 0 is equal, 1 is all to one. */
  gini: number;
  perSlot: { min: number; median: number; max: number };
  /** Miners that never got a job although they were there for the whole time. */
  starved: number;
  /** Those that behave unlike the others: what they got per real slot, as a multiple of the others' median. */
  special: { askedPerSlot: number; donePerSlot: number; refused: number; believedSlots: number } | undefined;
  /** From a newcomer's joining to its first job. */
  firstJobMs: number | undefined;
  /** Share of the jobs with a LoRA whose miner had it already. */
  transfersSaved: number | undefined;
  overbooked: number;
  /** From arrival to result, on average. */
  meanMs: number;
}

export function summarize(figures: LaneFigures, special: readonly SimMiner[]): Summary {
  const names = new Set(special.map(({ hotkey }) => hotkey));
  const usual = figures.miners.filter(({ miner }) => !names.has(miner.hotkey));
  const unusual = figures.miners.filter(({ miner }) => names.has(miner.hotkey));
  const perSlot = usual.map(askedPerSlot).sort((a, b) => a - b);
  const at = (share: number): number => perSlot[Math.floor(share * (perSlot.length - 1))] ?? 0;
  const newcomer = unusual.find(({ miner }) => miner.joinsAtMs > 0);
  return {
    jobs: figures.jobs,
    failedJobs: figures.failedJobs,
    gini: gini(
      perSlot,
      usual.map(({ miner }) => miner.actual),
    ),
    perSlot: { min: at(0), median: at(0.5), max: at(1) },
    starved: figures.miners.filter(({ miner, firstAskedAtMs }) => miner.joinsAtMs === 0 && firstAskedAtMs === undefined)
      .length,
    special: unusual.length === 0 ? undefined : compared(unusual, usual),
    firstJobMs: newcomer?.firstAskedAtMs === undefined ? undefined : newcomer.firstAskedAtMs - newcomer.miner.joinsAtMs,
    transfersSaved: figures.loraJobs === 0 ? undefined : figures.transfersSaved / figures.loraJobs,
    overbooked: figures.overbooked,
    meanMs: figures.waitedMs / Math.max(1, sum(figures.miners.map(({ done }) => done))),
  };
}

function compared(unusual: readonly MinerFigures[], usual: readonly MinerFigures[]): Summary['special'] {
  const ratio = (of: (figures: MinerFigures) => number): number =>
    median(unusual.map(of)) / Math.max(Number.MIN_VALUE, median(usual.map(of)));
  const asked = sum(unusual.map((figures) => figures.asked));
  return {
    askedPerSlot: ratio(askedPerSlot),
    donePerSlot: ratio(({ done, miner }) => done / miner.actual),
    refused: sum(unusual.map(({ refused }) => refused)) / Math.max(1, asked),
    believedSlots: sum(unusual.map(({ provenSum }) => provenSum)) / Math.max(1, asked),
  };
}

function askedPerSlot({ asked, miner }: MinerFigures): number {
  return asked / miner.actual;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
