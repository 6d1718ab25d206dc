import type { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { Counter, type Registry as Metrics } from 'prom-client';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { connectDataSource } from '@studio/shared/database/data-source';
import { DEFAULT_POLICY, DEMO_POLICY } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import { Health } from '@studio/shared/platform/health';
import { createMetrics } from '@studio/shared/platform/metrics';
import { publishHint } from '@studio/shared/platform/nats';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import type { RegistryEnv } from './env';
import { DippyScoreBoard } from './dippy-scores';
import { DrawExport } from './draw-export';
import { DrawExportStore } from './draw-export.store';
import { EpochKeeper } from './epoch-keeper';
import { EpochStore } from './epoch.store';
import { assembleExports } from './export-assembly';
import { LedgerStore } from './ledger.store';
import { MetagraphStore } from './metagraph/metagraph.store';
import { assembleMiners } from './miner-assembly';
import { RelayStore } from './relay.store';
import { ScoreBoards } from './score-board';
import { ScoreCache } from './score-cache';
import { ScoreFeed } from './score-feed';
import { ScoreRelay } from './score-relay';
import { ScoreStore } from './score.store';
import type { ScoresDoor } from './scores-door';
import { SnapshotStore } from './snapshot.store';
import type { Hint, News } from './tokens';
import { ValidatorSessions } from './validator-session';

/** Longest time that a lost hint delays what it would have told. */
const SWEEP_MS = 1_000;
const PROBE_TIMEOUT_MS = 2_000;

export interface Connections {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
  redis: Redis;
  /** Null without a NATS for validators. */
  door: ScoresDoor | null;
}

export type Registry = ReturnType<typeof assemble>;

/** Everything the registry is made of, without its doors: the module adds HTTP and NATS. */
export function assemble(env: RegistryEnv, { db, nats, redis, door }: Connections, log: Logger) {
  const metagraphs = new MetagraphStore(db, env.METAGRAPH !== 'none');
  const epochs = new EpochStore(db);
  const snapshots = new SnapshotStore(db, metagraphs.used);
  const scores = new ScoreStore(db);
  const boards = new ScoreBoards(epochs, scores, new ScoreCache(redis, scores, log), metagraphs);
  const feed = new ScoreFeed(scores);
  const draws = new DrawExport(new DrawExportStore(db));
  const signing = assembleExports({ db, scores, snapshots, seed: env.ORCHESTRATOR_SEED, log });
  const metrics = createMetrics('registry');
  const identity = hotkeyFromSeed(env.ORCHESTRATOR_SEED).address;
  const hint: Hint = (subject) => publishHint(nats, subject, {});
  const look = (): void => [...relays, feeding].forEach((sweeper) => sweeper.hint());
  const news: News = () => {
    look();
    hint(SUBJECTS.scoresAppended.subject);
  };
  const onMinersChanged = (): void => hint(SUBJECTS.minersChanged.subject);
  const side = assembleMiners(env, { db, metagraphs, boards, metrics, identity, onMinersChanged, log });
  const policy = env.POLICY === 'demo' ? DEMO_POLICY : DEFAULT_POLICY;
  const keeper = new EpochKeeper({ epochs, snapshots, policy, hint, onEvents: news, log });

  const sweeper = (name: string, run: () => Promise<boolean | void>): Sweeper =>
    new Sweeper({ name, everyMs: SWEEP_MS, run, log });
  const keeping = sweeper('epochs', () => keeper.run());
  const relays = door ? [sweeper('score relay', runOf(door, db, metrics, log))] : [];
  const feeding = sweeper('score feed', () => feed.run());
  const sweepers = [keeping, ...relays, feeding, signing.sweeper, ...side.sweepers];

  return {
    ...side,
    epochs,
    snapshots,
    scores,
    feed,
    draws,
    exports: signing.files,
    keeper,
    hint,
    news,
    metrics,
    boards,
    dippyBoard: new DippyScoreBoard(boards, scores),
    identity,
    health: new Health(
      { postgres: () => scores.lastSeq(), nats: () => nats.flush() },
      // Closed for good, unlike disconnected: only a restart heals it.
      { timeoutMs: PROBE_TIMEOUT_MS, alive: () => !nats.isClosed() },
    ),
    ledger: new LedgerStore(db),
    sessions: new ValidatorSessions(door, metagraphs),
    start: (): void => {
      nats.subscribe(SUBJECTS.epochSettled.subject, { callback: () => keeping.hint() });
      // What another replica wrote, this one's readers wait for; and whichever relay is free takes it.
      nats.subscribe(SUBJECTS.scoresAppended.subject, { callback: look });
      sweepers.forEach((each) => each.start());
    },
    stop: async (): Promise<void> => {
      [feed, draws, signing.files].forEach((readers) => readers.close());
      await Promise.all(sweepers.map((each) => each.stop()));
    },
  };
}

/** One sweep of the relay into the account SCORES. */
function runOf(
  { link, replicas }: ScoresDoor,
  db: Connections['db'],
  metrics: Metrics,
  log: Logger,
): () => Promise<boolean> {
  const relay = new ScoreRelay({ store: new RelayStore(db), link, replicas, log, onAmnesia: amnesiaCounter(metrics) });
  return () => relay.run();
}

function amnesiaCounter(metrics: Metrics): () => void {
  const counter = new Counter({
    name: 'registry_stream_amnesia_total',
    help: 'Times the broker had lost score events that it once acknowledged',
    registers: [metrics],
  });
  return () => counter.inc();
}
