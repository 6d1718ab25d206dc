import type { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { Counter, type Registry as Metrics } from 'prom-client';
import { SCORES_STREAM_SUBJECTS, SUBJECTS } from '@studio/shared/contract/subjects';
import type { connectDataSource } from '@studio/shared/database/data-source';
import { DEFAULT_POLICY, DEMO_POLICY } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import { Health } from '@studio/shared/platform/health';
import { createMetrics } from '@studio/shared/platform/metrics';
import { publishHint } from '@studio/shared/platform/nats';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import type { RegistryEnv } from './env';
import { EpochKeeper } from './epoch-keeper';
import { EpochStore } from './epoch.store';
import { LedgerStore } from './ledger.store';
import { MinerStore } from './miner.store';
import { RelayStore } from './relay.store';
import { ScoreBoards } from './score-board';
import { ScoreCache } from './score-cache';
import { ScoreFeed } from './score-feed';
import { ScoreRelay } from './score-relay';
import { ScoreStore } from './score.store';
import { SnapshotStore } from './snapshot.store';
import type { Hint, News } from './tokens';

/** Longest time that a lost hint delays what it would have told. */
const SWEEP_MS = 1_000;
const HOUSEKEEPING_MS = 60_000;
const PROBE_TIMEOUT_MS = 2_000;

export interface Connections {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
  redis: Redis;
}

export type Registry = ReturnType<typeof assemble>;

/** Everything the registry is made of, without its doors: the module adds HTTP and NATS. */
export function assemble(env: RegistryEnv, { db, nats, redis }: Connections, log: Logger) {
  const epochs = new EpochStore(db);
  const snapshots = new SnapshotStore(db);
  const scores = new ScoreStore(db);
  const miners = new MinerStore(db, env.trustedHotkeys);
  const feed = new ScoreFeed(scores);
  const metrics = createMetrics('registry');
  const relay = new ScoreRelay({ store: new RelayStore(db), nats, log, onAmnesia: amnesiaCounter(metrics) });
  const hint: Hint = (subject) => publishHint(nats, subject, {});
  const news: News = () => [relaying, feeding].forEach((sweeper) => sweeper.hint());
  const keeper = new EpochKeeper({
    epochs,
    snapshots,
    policy: env.POLICY === 'demo' ? DEMO_POLICY : DEFAULT_POLICY,
    hint,
    onEvents: news,
    log,
  });

  const sweeper = (name: string, everyMs: number, run: () => Promise<boolean | void>): Sweeper =>
    new Sweeper({ name, everyMs, run, log });
  const keeping = sweeper('epochs', SWEEP_MS, () => keeper.run());
  const relaying = sweeper('score relay', SWEEP_MS, () => relay.run());
  const feeding = sweeper('score feed', SWEEP_MS, () => feed.run());
  const housekeeping = sweeper('housekeeping', HOUSEKEEPING_MS, async () => {
    await miners.markTrusted();
    await miners.forgetNonces();
  });
  const sweepers = [keeping, relaying, feeding, housekeeping];

  return {
    epochs,
    snapshots,
    scores,
    miners,
    feed,
    keeper,
    hint,
    news,
    metrics,
    health: new Health(
      { postgres: () => scores.lastSeq(), nats: () => nats.flush() },
      // Closed for good, unlike disconnected: only a restart heals it.
      { timeoutMs: PROBE_TIMEOUT_MS, alive: () => !nats.isClosed() },
    ),
    ledger: new LedgerStore(db),
    boards: new ScoreBoards(epochs, new ScoreCache(redis, scores, log)),
    identity: hotkeyFromSeed(env.ORCHESTRATOR_SEED).address,
    start: (): void => {
      nats.subscribe(SUBJECTS.epochSettled.subject, { callback: () => keeping.hint() });
      // Another replica's relay publishes what this one's readers wait for.
      for (const subject of SCORES_STREAM_SUBJECTS) nats.subscribe(subject, { callback: () => feeding.hint() });
      sweepers.forEach((each) => each.start());
    },
    stop: async (): Promise<void> => {
      feed.close();
      await Promise.all(sweepers.map((each) => each.stop()));
    },
  };
}

function amnesiaCounter(metrics: Metrics): () => void {
  const counter = new Counter({
    name: 'registry_stream_amnesia_total',
    help: 'Times the broker had lost score events that it once acknowledged',
    registers: [metrics],
  });
  return () => counter.inc();
}
