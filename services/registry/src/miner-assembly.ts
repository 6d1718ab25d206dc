import type { Registry as Metrics } from 'prom-client';
import type { connectDataSource } from '@studio/shared/database/data-source';
import { createEgress, type Egress } from '@studio/shared/platform/egress';
import type { Logger } from '@studio/shared/platform/logger';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { AppealStore } from './appeal.store';
import { DatabaseClock } from './database-clock';
import type { RegistryEnv } from './env';
import { FairnessBoard } from './fairness-board';
import { FairnessStore } from './fairness.store';
import { fileSource, pylonSource, type MetagraphSource } from './metagraph/metagraph-source';
import { MetagraphWatch } from './metagraph/metagraph-watch';
import type { MetagraphStore } from './metagraph/metagraph.store';
import { MinerAccounts } from './miner-account';
import { MinerAccountStore } from './miner-account.store';
import { MinerStore } from './miner.store';
import { RequestSignatures } from './request-signature';
import type { ScoreBoards } from './score-board';

/** How often the metagraph is read, the fairness computed, and what has grown old swept away. */
const MINUTE_MS = 60_000;

export interface MinerParts {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  metagraphs: MetagraphStore;
  boards: ScoreBoards;
  metrics: Metrics;
  /** SS58 of this registry. */
  identity: string;
  onMinersChanged: () => void;
  log: Logger;
}

/** The half of the registry that is about miners: who they are, what they may know, whether they are treated alike. */
export function assembleMiners(env: RegistryEnv, parts: MinerParts) {
  const { db, metagraphs, boards, metrics, identity, onMinersChanged, log } = parts;
  const membersOnly = metagraphs.used;
  const miners = new MinerStore(db, { trusted: env.trustedHotkeys, membersOnly });
  const threads = new SignatureThreads();
  const fairness = new FairnessBoard(new FairnessStore(db, membersOnly), metrics);
  // The sidecar is the operator's own, not a stranger's address.
  const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 1 });
  const watch = new MetagraphWatch({
    source: metagraphSource(env, egress),
    store: metagraphs,
    acceptLoss: env.METAGRAPH_ACCEPT_LOSS,
    onChange: onMinersChanged,
    log,
  });
  const housekeeping = async (): Promise<void> => {
    await miners.markTrusted();
    await miners.forgetNonces();
  };
  const everyMinute = { housekeeping, metagraph: () => watch.run(), fairness: () => fairness.run() };
  return {
    miners,
    appeals: new AppealStore(miners),
    fairness,
    accounts: new MinerAccounts(new MinerAccountStore(db), boards, fairness),
    signatures: new RequestSignatures({
      recipient: identity,
      verifier: threads,
      clock: new DatabaseClock(() => miners.nowMs()),
    }),
    sweepers: Object.entries(everyMinute).map(([name, run]) => new Sweeper({ name, everyMs: MINUTE_MS, run, log })),
    /** Once no request is under way any more. */
    end: async (): Promise<void> => void (await Promise.all([threads.close(), egress.close()])),
  };
}

/** The environment has been validated: each source has its variables. */
function metagraphSource(env: RegistryEnv, egress: Egress): MetagraphSource | null {
  const { METAGRAPH, METAGRAPH_FILE = '', PYLON_URL = '', NETUID = 0, PYLON_TOKEN: token } = env;
  switch (METAGRAPH) {
    case 'none':
      return null;
    case 'file':
      return fileSource(METAGRAPH_FILE);
    case 'pylon':
      return pylonSource({ url: PYLON_URL, netuid: NETUID, token, egress });
  }
}
