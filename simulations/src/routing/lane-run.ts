/**
 * One kind of job in virtual time: jobs arrive at random, several workers with copies of their own give them to miners by
 * the production's rules, and miners answer as they are. Only Redis (memory-lanes.ts), Postgres and the wire are replaced.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { chooseMiner } from '@studio/shared/domain/dispatch-policy';
import { DEFAULT_POLICY, type RoutingPolicy } from '@studio/shared/domain/policy';
import type { TimedHold } from '@studio/querier/routing/lane-store';
import { MemoryLanes } from '@studio/querier/routing/memory-lanes';
import type { Offer } from '@studio/querier/routing/miner-directory';
import { TurnBoard } from '@studio/querier/routing/turn-board';
import type { EndNotes, HoldEnd, Lane, SlotHold } from '@studio/querier/routing/turns';
import { isSlow, restMs, type UsualTimes } from '@studio/querier/routing/usual-times';
import { Chance } from '../chance';
import { EventQueue } from './event-queue';
import type { SimMiner } from './population';

export interface LaneOptions {
  lane: Lane;
  miners: readonly SimMiner[];
  seed: number;
  /** Virtual time of arrivals; figures count from `warmUpMs` on. */
  spanMs: number;
  warmUpMs: number;
  /** Usual time of a job, and the time after which a miner that does not answer has failed. */
  jobMs: number;
  timeoutMs: number;
  /** Share of the slots of the miners there are from the start. */
  load: number;
  /** Share of jobs that take `times` as long as usual, and as much longer before they time out. */
  long?: { share: number; times: number };
  workers: number;
  policy: RoutingPolicy;
  /** How many LoRAs there are (the first is the most popular), and how long one takes to transfer; none in training. */
  loras: number;
  transferMs: number;
  /** When the shared memory is emptied. */
  flushAtMs?: number;
}

export interface MinerFigures {
  miner: SimMiner;
  /** Requests since the warm-up, those refused with 429, and jobs done. */
  asked: number;
  refused: number;
  done: number;
  /** Of jobs that would each have brought 1 at no latency. */
  points: number;
  /** Slots believed, on average over the requests. */
  provenSum: number;
  firstAskedAtMs: number | undefined;
}

export interface LaneFigures {
  miners: MinerFigures[];
  jobs: number;
  failedJobs: number;
  /** Jobs that needed a LoRA and found it at their miner. */
  loraJobs: number;
  transfersSaved: number;
  waitedMs: number;
  /** Most jobs at one miner beyond what it was believed to have. */
  overbooked: number;
}

interface Job {
  id: string;
  /** Times the usual. */
  size: number;
  lora: string | null;
  arrivedAtMs: number;
  attempts: number;
  tried: Set<string>;
  isCounted: boolean;
}

/** Not 0: that is "never" in a record. */
const START_MS = 1_800_000_000_000;
/** As the workers' dispatcher does. */
const REFRESH_MS = 250;
const BUSY_REFRESH_MS = 50;
const ROUND_TRIP_MS = 50;
const MAX_ATTEMPTS = 3;
const MAX_CHOICES = 32;
/** As the workers' hedges do, with the quantile of the policy. */
const LATEST_JOBS = 1_000;
const LEARN_MS = 10_000;
/** A cache of a miner: LoRAs that it keeps; the oldest go. */
const MINER_CACHE = 20;

export class LaneRun {
  private readonly time = new EventQueue(START_MS);
  private readonly chance: Chance;
  private readonly lanes = new MemoryLanes();
  private readonly boards: TurnBoard[];
  private readonly present: Offer[] = [];
  /** By the time at which they join. */
  private readonly absent: { offer: Offer; joinsAtMs: number }[];
  private readonly open = new Map<string, TimedHold>();
  /** Jobs that the workers have at each miner, and those that it really runs. */
  private readonly held = new Map<string, number>();
  private readonly running = new Map<string, number>();
  private readonly caches = new Map<string, Set<string>>();
  private readonly waiting: Job[] = [];
  private readonly figures: Map<string, MinerFigures>;
  private readonly totals = { jobs: 0, failedJobs: 0, loraJobs: 0, transfersSaved: 0, waitedMs: 0, overbooked: 0 };
  /** Latencies of the latest results, as shares of the timeout. */
  private readonly shares: number[] = [];
  private usual: UsualTimes;
  private learnedAtMs = -Infinity;
  private jobsMade = 0;
  private isOver = false;

  constructor(private readonly options: LaneOptions) {
    const { miners, seed, workers, policy } = options;
    this.chance = new Chance(seed);
    this.absent = miners
      .map(({ hotkey, operator, declared, joinsAtMs }) => ({
        offer: { miner: { hotkey, operator, trusted: false } as RoutableMiner, slots: declared },
        joinsAtMs,
      }))
      .sort((a, b) => a.joinsAtMs - b.joinsAtMs);
    this.figures = new Map(
      miners.map((miner) => [
        miner.hotkey,
        { miner, asked: 0, refused: 0, done: 0, points: 0, provenSum: 0, firstAskedAtMs: undefined },
      ]),
    );
    const rows = {
      openHolds: async () => [...this.open.values()],
      provenSlots: async () => new Map<string, number>(),
    };
    const parts = { store: this.lanes, rows, policy: () => policy, log: { warn: reportFault } };
    const directory = { every: (kind: string, engine: string) => this.every(kind, engine) };
    this.boards = Array.from(
      { length: workers },
      () => new TurnBoard({ ...parts, directory, clock: () => this.time.nowMs }),
    );
  }

  async run(): Promise<LaneFigures> {
    const { spanMs, flushAtMs, timeoutMs } = this.options;
    this.planArrival();
    for (const board of this.boards) this.refreshAgain(board, this.chance.between(0, REFRESH_MS));
    if (flushAtMs !== undefined) this.time.in(flushAtMs, () => this.lanes.clear());
    await this.time.runUntil(START_MS + spanMs);
    this.isOver = true;
    await this.time.runUntil(START_MS + spanMs + MAX_ATTEMPTS * timeoutMs);
    return { miners: [...this.figures.values()], ...this.totals };
  }

  private every(kind: string, engine: string): Offer[] {
    const { lane } = this.options;
    if (kind !== lane.kind || engine !== lane.engine) return [];
    const sinceMs = this.time.nowMs - START_MS;
    while ((this.absent[0]?.joinsAtMs ?? Infinity) <= sinceMs) this.present.push(this.absent.shift()!.offer);
    return this.present;
  }

  private refreshAgain(board: TurnBoard, inMs: number): void {
    this.time.in(inMs, async () => {
      await board.refresh(0);
      if (!this.isOver) this.refreshAgain(board, REFRESH_MS);
    });
  }

  private planArrival(): void {
    const { miners, load, jobMs } = this.options;
    const present = miners.filter(({ joinsAtMs }) => joinsAtMs === 0);
    const jobsPerMs = present.reduce((sum, { actual, slowness }) => sum + actual / (slowness * jobMs), 0);
    this.time.in(this.chance.wait(1 / (jobsPerMs * load)), async () => {
      if (this.isOver) return;
      this.planArrival();
      await this.place(this.newJob());
    });
  }

  private newJob(): Job {
    const { nowMs } = this.time;
    const isCounted = nowMs >= START_MS + this.options.warmUpMs;
    if (isCounted) this.totals.jobs += 1;
    this.jobsMade += 1;
    return {
      id: `${this.jobsMade}`,
      size: this.size(),
      lora: this.lora(),
      arrivedAtMs: nowMs,
      attempts: 0,
      tried: new Set(),
      isCounted,
    };
  }

  private size(): number {
    const { long } = this.options;
    return long && this.chance.happens(long.share) ? long.times : 1;
  }

  /** The n-th LoRA is wanted 1/n as often as the first (Zipf): log-uniform, by the integral in place of the sum. */
  private lora(): string | null {
    const { loras } = this.options;
    return loras === 0 ? null : `lora-${Math.floor(Math.exp(this.chance.next() * Math.log(loras + 1)))}`;
  }

  /** Gives the job to a miner, or lets it wait for a slot. */
  private async place(job: Job): Promise<void> {
    const board = this.boards[this.chance.whole(0, this.boards.length - 1)]!;
    const hold = await this.reserve(board, job);
    if (!hold) return void this.waiting.push(job);
    job.attempts += 1;
    this.send(board, job, hold);
  }

  private async reserve(board: TurnBoard, job: Job): Promise<SlotHold | undefined> {
    const { lane, policy } = this.options;
    const timeoutMs = this.timeoutMs(job);
    if (this.waiting.length > 0) await board.refresh(BUSY_REFRESH_MS);
    if (job.lora !== null) await board.learnHolders(job.lora);
    const exclusions = { tried: job.tried, excludeOperators: new Set<string>() };
    for (let choice = 0; choice < MAX_CHOICES; choice += 1) {
      const candidates = board.candidates(this.every(lane.kind, lane.engine), lane, job.lora);
      const chosen = chooseMiner(candidates, exclusions, this.time.nowMs, policy);
      if (!chosen) return undefined;
      const hold = { ...lane, hotkey: chosen.hotkey, jobId: job.id, attemptNo: job.attempts + 1 };
      if (await board.reserve(chosen, hold, timeoutMs * 2)) {
        this.note(job, chosen.hotkey, chosen.slots, hold);
        return hold;
      }
    }
    return undefined;
  }

  private note(job: Job, hotkey: string, proven: number, hold: SlotHold): void {
    const name = nameOf(hold);
    this.open.set(name, { hotkey, name, expiresAtMs: this.time.nowMs + this.timeoutMs(job) * 2 });
    const held = (this.held.get(hotkey) ?? 0) + 1;
    this.held.set(hotkey, held);
    this.totals.overbooked = Math.max(this.totals.overbooked, held - proven);
    const figures = this.figures.get(hotkey)!;
    figures.firstAskedAtMs ??= this.time.nowMs - START_MS;
    if (!job.isCounted) return;
    figures.asked += 1;
    figures.provenSum += proven;
  }

  /** What the miner does with it. */
  private send(board: TurnBoard, job: Job, hold: SlotHold): void {
    const { miner } = this.figures.get(hold.hotkey)!;
    const running = this.running.get(miner.hotkey) ?? 0;
    if (miner.refusesLong && job.size > 1) {
      const end = miner.refusesLong === 'busy' ? 'busy' : 'failed';
      this.time.in(ROUND_TRIP_MS, () => this.end(board, job, hold, { end, afterMs: ROUND_TRIP_MS }));
      return;
    }
    if (running >= miner.actual || this.chance.happens(miner.refusalRate)) {
      this.time.in(ROUND_TRIP_MS, () => this.end(board, job, hold, { end: 'busy', afterMs: ROUND_TRIP_MS }));
      return;
    }
    this.running.set(miner.hotkey, running + 1);
    const failed = miner.hangs || this.chance.happens(miner.failRate);
    const usualMs = this.options.jobMs * job.size;
    const workMs = usualMs * miner.slowness * this.chance.between(0.7, 1.3) + this.transferMs(job, miner);
    const answerMs = miner.hangs ? this.timeoutMs(job) : failed ? workMs * this.chance.next() : workMs;
    const afterMs = ROUND_TRIP_MS + answerMs;
    this.time.in(afterMs, () => {
      this.running.set(miner.hotkey, this.running.get(miner.hotkey)! - 1);
      return this.end(board, job, hold, { end: failed ? 'failed' : 'success', afterMs });
    });
  }

  private transferMs({ lora, isCounted }: Job, { hotkey }: SimMiner): number {
    if (lora === null) return 0;
    const cache = this.caches.get(hotkey) ?? new Set<string>();
    this.caches.set(hotkey, cache);
    const saved = cache.delete(lora);
    cache.add(lora);
    for (const oldest of cache) {
      if (cache.size <= MINER_CACHE) break;
      cache.delete(oldest);
    }
    if (isCounted) this.totals.loraJobs += 1;
    if (isCounted && saved) this.totals.transfersSaved += 1;
    return saved ? 0 : this.options.transferMs;
  }

  private async end(
    board: TurnBoard,
    job: Job,
    hold: SlotHold,
    { end, afterMs }: { end: HoldEnd; afterMs: number },
  ): Promise<void> {
    const figures = this.figures.get(hold.hotkey)!;
    this.open.delete(nameOf(hold));
    this.held.set(hold.hotkey, this.held.get(hold.hotkey)! - 1);
    board.settle(hold, end, this.notes(job, end, afterMs));
    if (end === 'success' && job.lora !== null) board.holds(hold.hotkey, job.lora);
    await board.drain();
    if (end === 'busy') await this.afterRefusal(job, figures);
    else if (end === 'failed') await this.afterFailure(job, hold.hotkey);
    else if (job.isCounted) {
      figures.done += 1;
      figures.points += Math.max(0, 1 - afterMs / (DEFAULT_POLICY.latencyCutoffShare * this.timeoutMs(job)));
      this.totals.waitedMs += this.time.nowMs - job.arrivedAtMs;
    }
    const next = this.waiting.shift();
    if (next) await this.place(next);
  }

  /** What the workers say with a hold's end, from the latest results as they know them. */
  private notes(job: Job, end: HoldEnd, afterMs: number): EndNotes {
    const { policy } = this.options;
    const timeoutMs = this.timeoutMs(job);
    if (end !== 'success') return { restMs: restMs(timeoutMs, afterMs, this.usual, policy) };
    this.shares.push(afterMs / timeoutMs);
    if (this.time.nowMs - this.learnedAtMs >= LEARN_MS) this.learnUsualTimes();
    return { isSlow: isSlow(timeoutMs, afterMs, this.usual, policy) };
  }

  private learnUsualTimes(): void {
    this.learnedAtMs = this.time.nowMs;
    this.shares.splice(0, this.shares.length - LATEST_JOBS);
    const sorted = [...this.shares].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    const { hedgeQuantile } = this.options.policy;
    this.usual = { samples: sorted.length, quantileShare: at(hedgeQuantile), medianShare: at(0.5) };
  }

  private timeoutMs({ size }: Job): number {
    return this.options.timeoutMs * size;
  }

  /** It may be asked again later, but not in the same breath. */
  private async afterRefusal(job: Job, figures: MinerFigures): Promise<void> {
    if (job.isCounted) figures.refused += 1;
    const { hotkey } = figures.miner;
    job.tried.add(hotkey);
    await this.place(job);
    job.tried.delete(hotkey);
  }

  private async afterFailure(job: Job, hotkey: string): Promise<void> {
    job.tried.add(hotkey);
    if (job.tried.size < MAX_ATTEMPTS) await this.place(job);
    else if (job.isCounted) this.totals.failedJobs += 1;
  }
}

function nameOf({ jobId, attemptNo }: SlotHold): string {
  return `${jobId}:${attemptNo}`;
}

function reportFault(this: void, ...about: unknown[]): void {
  throw new Error(`the board complains: ${JSON.stringify(about)}`);
}
