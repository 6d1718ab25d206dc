import { join } from 'node:path';
import { aimsOf } from './aims';
import { measureCheckCost } from './check-cost';
import type { Contender } from './contender';
import { startFloor } from './floor-contender';
import { startGraphile } from './graphile-contender';
import { describeMachine } from './machine';
import { measure, type Plan } from './measure';
import { startFleet } from './miner-fleet';
import type { BenchOptions } from './options';
import { ProductClient } from './product-client';
import { engine, ENGINE, PRODUCT_BARE, wholeProduct } from './product-contender';
import { startProduct } from './product-system';
import { rowsOf, type BenchReport, type Row } from './report';

/** Three seconds at 100 jobs/s: a p99 of each round rests on three jobs, of three rounds on nine. */
const PACED_JOBS = 300;
const PER_SECOND = 100;
const DELAY_MS = 50;

/** Past every miner's probation, in which each job is audited, and every program's first, slow, uncompiled jobs. */
const WARM_UP_JOBS = 300;

/** Processes of ours; servers of others are theirs to size. */
const SERVERS = new Set(['postgres', 'nats', 'scores', 'redis']);

interface Started {
  contenders: Contender[];
  floor: Contender;
  setDelay: (delayMs: number) => Promise<void>;
  memoryMiB: () => Record<string, number>;
}

export class Bench {
  /** In the order of their start; ended in reverse. */
  private readonly stops: (() => Promise<void>)[] = [];
  private stopping: Promise<void> | null = null;

  constructor(
    private readonly root: string,
    private readonly options: BenchOptions,
    private readonly say: (line: string) => void,
  ) {}

  async run(): Promise<BenchReport> {
    const begun = performance.now();
    const machine = describeMachine();
    const { rounds, jobs, dataDir } = this.options;
    const plan: Plan = { rounds, jobs, pacedJobs: PACED_JOBS, perSecond: PER_SECOND, delayMs: DELAY_MS };
    const { contenders, floor, setDelay, memoryMiB } = await this.start();
    const figures = await measure(contenders, plan, setDelay, this.say);
    const problems: string[] = [];
    for (const one of contenders) problems.push(...(await one.verify()).map((problem) => `${one.name}: ${problem}`));
    const rows = rowsOf(figures, plan, floor);
    const memory = memoryMiB();
    const row = (name: string): Row => rows.find((candidate) => candidate.name === name)!;
    return {
      machine,
      plan,
      rows,
      checkCost: await measureCheckCost(join(dataDir, 'check-cost')),
      memoryMiB: memory,
      aims: aimsOf({ floor: row(floor.name), engine: row(ENGINE), product: row(PRODUCT_BARE), memoryMiB: memory }),
      problems,
      seconds: (performance.now() - begun) / 1_000,
    };
  }

  /** Ends every process that was started, the last first. */
  stop(): Promise<void> {
    this.stopping ??= (async () => {
      for (const stop of this.stops.reverse()) await stop().catch((error: unknown) => this.say(String(error)));
    })();
    return this.stopping;
  }

  private async start(): Promise<Started> {
    const { dataDir, profile } = this.options;
    this.say('starting the stub miners, the floor, graphile-worker and the product');
    const fleet = this.kept(await startFleet());
    const floor = this.kept(await startFloor(fleet));
    const graphile = this.kept(await startGraphile(join(dataDir, 'graphile'), fleet, this.say));
    const product = this.kept(await startProduct(this.root, join(dataDir, 'product'), fleet, profile, this.say));
    const client = new ProductClient(product);
    this.stops.push(() => client.close());
    await client.uploadLora();
    const whole = wholeProduct(product, client, fleet, { bare: false });
    this.say('warming up');
    for (const one of [floor, ...graphile.contenders, whole]) await warmUp(one);
    const bareEngine = this.kept(await engine(product, fleet));
    await warmUp(bareEngine);
    const bare = wholeProduct(product, client, fleet, { bare: true });
    return {
      contenders: [floor, ...graphile.contenders, bareEngine, bare, whole],
      floor,
      setDelay: (delayMs) => fleet.setDelay(delayMs),
      memoryMiB: () =>
        Object.fromEntries(
          product.supervisor
            .report()
            .flatMap(({ name, peakMemoryMiB }) => (SERVERS.has(name) ? [] : [[name, peakMemoryMiB ?? 0]])),
        ),
    };
  }

  private kept<T extends { stop(): Promise<void> }>(started: T): T {
    this.stops.push(() => started.stop());
    return started;
  }
}

async function warmUp(contender: Contender): Promise<void> {
  await contender.prepare?.();
  await contender.burst(WARM_UP_JOBS);
  await contender.settle?.();
  await contender.rest?.();
}
