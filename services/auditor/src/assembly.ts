import type { NatsConnection } from 'nats';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { connectDataSource } from '@studio/shared/database/data-source';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { Logger } from '@studio/shared/platform/logger';
import { publishHint } from '@studio/shared/platform/nats';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { AdapterStore } from './adapter.store';
import { AuditViewStore } from './audit-view.store';
import { ClosingStore } from './closing.store';
import { CommitmentStore } from './commitment.store';
import { CopyRule } from './copy-rule';
import { DrawStore } from './draw.store';
import { EpochCloser } from './epoch-closer';
import type { Filing } from './filing';
import { Intake } from './intake';
import { LedgerRelay } from './ledger-relay';
import { OutboxStore } from './outbox.store';
import { ReplayStore } from './replay.store';
import { Replays } from './replays';
import { VerdictStore } from './verdict.store';

export interface Connections {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
  artifacts: Pick<ArtifactStore, 'read'>;
}

/**
 * Awards and audits are off the critical path: under load, what arrives in this time shares a run, and a run costs much
 * the same for one job and for a hundred.
 */
const REST_MS = 50;

export type Auditor = ReturnType<typeof assemble>;

/**
 * Everything the auditor is made of, without its doors. Five loops, each woken by a hint and by the clock:
 * intake (award and draw) → copies → replays (verdicts) → closer (reversals, settlement), and the relay to the ledger.
 */
export function assemble({ db, nats, artifacts }: Connections, { sweepMs }: { sweepMs: number }, log: Logger) {
  const draws = new DrawStore(db);
  const outbox = new OutboxStore(db);
  const say = (subject: string): void => publishHint(nats, subject, {});
  const sweeper = (name: string, run: (signal: AbortSignal) => Promise<boolean | void>): Sweeper =>
    new Sweeper({ name, everyMs: sweepMs, restMs: REST_MS, run, log });

  const intake = new Intake(draws, (filing) => {
    relaying.hint();
    if (filing.audits.length > 0 || hasReplicas(filing)) replaying.hint();
    if (filing.draws.some((draw) => draw.loraSha256 !== null)) copying.hint();
  });
  const copies = new CopyRule(
    new AdapterStore(db),
    artifacts,
    log,
    () => replaying.hint(),
    () => closing.hint(),
  );
  const replays = new Replays(new ReplayStore(db), new VerdictStore(db), nats, log, {
    decided: () => closing.hint(),
    quarantined: () => say(SUBJECTS.trustChanged.subject),
  });
  const relay = new LedgerRelay(outbox, nats, log, () => closing.hint());
  const closer = new EpochCloser(new ClosingStore(db), new CommitmentStore(db), replays, log, {
    audits: () => replaying.hint(),
    reversals: () => relaying.hint(),
    settled: () => say(SUBJECTS.epochSettled.subject),
  });

  const taking = sweeper('intake', () => intake.run());
  const copying = sweeper('copies', () => copies.run());
  const replaying = sweeper('replays', (signal) => replays.run(signal));
  const relaying = sweeper('ledger relay', () => relay.run());
  const closing = sweeper('epochs', () => closer.run());
  const sweepers = [taking, copying, replaying, relaying, closing];

  return {
    draws,
    outbox,
    audits: new AuditViewStore(db),
    start: (): void => {
      // A replay that failed ends without a draw: replays listen for themselves.
      const onFinished = (): void => [taking, replaying].forEach((each) => each.hint());
      nats.subscribe(SUBJECTS.jobFinished.subject, { callback: onFinished });
      nats.subscribe(SUBJECTS.epochChanged.subject, { callback: () => closing.hint() });
      sweepers.forEach((each) => each.start());
    },
    /** Every loop ends its current run; what is left waits in Postgres. */
    stop: async (): Promise<void> => void (await Promise.all(sweepers.map((each) => each.stop()))),
  };
}

/** A replay that has come home: its audit can go on. */
const hasReplicas = ({ draws }: Filing): boolean => draws.some((draw) => draw.house);
