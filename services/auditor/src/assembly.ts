import type { NatsConnection } from 'nats';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { connectDataSource } from '@studio/shared/database/data-source';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { Logger } from '@studio/shared/platform/logger';
import { createMetrics } from '@studio/shared/platform/metrics';
import { publishHint } from '@studio/shared/platform/nats';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { AdapterStore } from './adapter.store';
import { AmnestyStore } from './amnesty.store';
import { AppealStore } from './appeals.store';
import { AuditViewStore } from './audit-view.store';
import { canaryLoop } from './canaries/canary-loop';
import { ClosingStore } from './closing.store';
import { CommitmentStore } from './commitment.store';
import { Comparators } from './comparators/comparators';
import { ComparisonPool } from './comparators/comparison-pool';
import { CopyRule } from './copy-rule';
import { DrawStore } from './draw.store';
import { EpochCloser } from './epoch-closer';
import type { Filing } from './filing';
import { Intake } from './intake';
import { LedgerRelay } from './ledger-relay';
import { OutboxStore } from './outbox.store';
import { Photographs } from './photographs';
import { PictureRule } from './picture-rule';
import { PictureStore } from './picture.store';
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

export interface AuditorOptions {
  sweepMs: number;
  /** Directory of what canaries are made from; none are made without. */
  canaryCorpus?: string;
}

export type Auditor = ReturnType<typeof assemble>;

/** Where something is to do: a loop, or another service. */
interface Hints {
  copying: () => void;
  picturing: () => void;
  replaying: () => void;
  relaying: () => void;
  closing: () => void;
  say: (subject: string) => void;
}

/** What the loops run. */
function assembleParts({ db, nats, artifacts }: Connections, hint: Hints, log: Logger) {
  const draws = new DrawStore(db);
  const outbox = new OutboxStore(db);
  const intake = new Intake(draws, (filing) => {
    hint.relaying();
    if (filing.audits.length > 0 || hasReplicas(filing)) hint.replaying();
    if (filing.draws.some((draw) => draw.loraSha256 !== null)) hint.copying();
    if (filing.draws.some((draw) => draw.kind === 'lora-inference')) hint.picturing();
  });
  const copies = new CopyRule(new AdapterStore(db), artifacts, log, hint.replaying, hint.closing);
  const walk = new PictureStore(db);
  const pictures = new PictureRule(walk, new Photographs(walk, artifacts), hint.replaying, hint.closing);
  /** Restorations wait in the outbox, and a quarantine may have ended. */
  const onCorrected = (): void => {
    hint.relaying();
    hint.say(SUBJECTS.trustChanged.subject);
  };
  const comparisons = new ComparisonPool();
  const comparators = new Comparators(artifacts, comparisons);
  const replays = new Replays(new ReplayStore(db), new VerdictStore(db), comparators, nats, log, {
    decided: hint.closing,
    quarantined: () => hint.say(SUBJECTS.trustChanged.subject),
    corrected: onCorrected,
  });
  const relay = new LedgerRelay(outbox, nats, log, hint.closing);
  const closer = new EpochCloser(new ClosingStore(db), new CommitmentStore(db), replays, log, {
    audits: hint.replaying,
    reversals: hint.relaying,
    settled: () => hint.say(SUBJECTS.epochSettled.subject),
  });
  return {
    draws,
    outbox,
    intake,
    copies,
    pictures,
    comparisons,
    replays,
    appeals: new AppealStore(db),
    relay,
    closer,
    onCorrected,
  };
}

/**
 * Everything the auditor is made of, without its doors. Its loops are each woken by a hint and by the clock: intake (award
 * and draw) → copies and pictures → replays (verdicts) → closer (reversals, settlement); appeals (second rounds); canaries (jobs of our
 * own); the relay to the ledger.
 */
export function assemble(connections: Connections, { sweepMs, canaryCorpus }: AuditorOptions, log: Logger) {
  const { db, nats } = connections;
  const metrics = createMetrics('auditor');
  const sweeper = (name: string, run: (signal: AbortSignal) => Promise<boolean | void>): Sweeper =>
    new Sweeper({ name, everyMs: sweepMs, restMs: REST_MS, run, log });
  const hint: Hints = {
    copying: () => copying.hint(),
    picturing: () => picturing.hint(),
    replaying: () => replaying.hint(),
    relaying: () => relaying.hint(),
    closing: () => closing.hint(),
    say: (subject) => publishHint(nats, subject, {}),
  };
  const parts = assembleParts(connections, hint, log);
  const { intake, copies, pictures, replays, appeals, relay, closer } = parts;

  const taking = sweeper('intake', () => intake.run());
  const copying = sweeper('copies', () => copies.run());
  const picturing = sweeper('pictures', () => pictures.run());
  const replaying = sweeper('replays', (signal) => replays.run(signal));
  const appealing = sweeper('appeals', async () => {
    if ((await appeals.takeUp()) > 0) hint.replaying();
  });
  const relaying = sweeper('ledger relay', () => relay.run());
  const closing = sweeper('epochs', () => closer.run());
  const sweepers = [taking, copying, picturing, replaying, appealing, relaying, closing];
  if (canaryCorpus !== undefined) {
    const canaries = canaryLoop(canaryCorpus, { db, nats, metrics, log, onAudits: hint.replaying });
    sweepers.push(sweeper('canaries', (signal) => canaries.run(signal)));
  }

  return {
    metrics,
    draws: parts.draws,
    outbox: parts.outbox,
    audits: new AuditViewStore(db),
    amnesties: new AmnestyStore(db),
    onCorrected: parts.onCorrected,
    start: (): void => {
      // A replay that failed ends without a draw: replays listen for themselves.
      const onFinished = (): void => [taking, replaying].forEach((each) => each.hint());
      nats.subscribe(SUBJECTS.jobFinished.subject, { callback: onFinished });
      nats.subscribe(SUBJECTS.appealFiled.subject, { callback: () => appealing.hint() });
      nats.subscribe(SUBJECTS.epochChanged.subject, { callback: hint.closing });
      sweepers.forEach((each) => each.start());
    },
    /** Every loop ends its current run; what is left waits in Postgres. */
    stop: async (): Promise<void> => {
      await Promise.all(sweepers.map((each) => each.stop()));
      await parts.comparisons.close();
    },
  };
}

/** A replay that has come home: its audit can go on. */
const hasReplicas = ({ draws }: Filing): boolean => draws.some((draw) => draw.house);
