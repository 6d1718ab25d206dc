/** The loop of canaries with everything that it is made of. */
import { randomInt } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { Counter, type Registry } from 'prom-client';
import type { connectDataSource } from '@studio/shared/database/data-source';
import type { Logger } from '@studio/shared/platform/logger';
import { Canaries, type CanaryEvents } from './canaries';
import { CanaryMaker } from './canary-maker';
import { CanaryMaterialStore } from './canary-material.store';
import { CanaryPlanStore } from './canary-plan.store';
import { CanaryStore } from './canary.store';
import { readCorpus } from './corpus';

export interface CanaryLoopParts {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
  /** Counts what is asked for. */
  metrics: Registry;
  log: Logger;
  /** Hears that known answers wait to be compared with. */
  onAudits: () => void;
}

/** The largest range `randomInt` takes. */
const RANDOM_STEPS = 2 ** 48 - 1;

/** Not Math.random: a miner that sees some of the numbers must not be able to tell the next. */
const chance = (): number => randomInt(RANDOM_STEPS) / RANDOM_STEPS;

/** Reads the corpus in the background: until it is read, the loop does nothing. */
export function canaryLoop(directory: string, { db, nats, metrics, log, onAudits }: CanaryLoopParts): Canaries {
  let maker: CanaryMaker | undefined;
  void readCorpus(directory, log).then((corpus) => {
    maker = new CanaryMaker(corpus, new CanaryMaterialStore(db), log, chance);
  });
  return new Canaries({
    plans: new CanaryPlanStore(db),
    store: new CanaryStore(db),
    maker: () => maker,
    nats,
    log,
    events: { asked: counted(metrics), audits: onAudits },
    chance,
  });
}

function counted(registry: Registry): CanaryEvents['asked'] {
  const canaries = new Counter({
    name: 'auditor_canaries_total',
    help: 'Jobs of our own that were asked for, by what the querier said',
    labelNames: ['kind', 'engine', 'outcome'],
    registers: [registry],
  });
  return ({ kind, engine }, outcome) => canaries.inc({ kind, engine, outcome });
}
