import { isStudioError } from '@studio/shared/domain/errors';
import type { Logger } from '@studio/shared/platform/logger';
import { readMetagraph } from './metagraph-form';
import type { MetagraphSource } from './metagraph-source';
import type { MetagraphStore, StoreOutcome } from './metagraph.store';

export interface MetagraphWatchOptions {
  /** Null: everybody may take part. */
  source: MetagraphSource | null;
  store: Pick<MetagraphStore, 'store'>;
  /** Believe the first good reading even if more than half of the members are gone. */
  acceptLoss: boolean;
  /** Members came, went or moved. */
  onChange: () => void;
  log: Pick<Logger, 'info' | 'error'>;
}

/**
 * Brings what is stored to what the source says, once a minute. A source that fails, says nonsense or has suddenly lost
 * most of its members is believed to be broken: the last good reading stays in force, because acting on a bad one would
 * take every miner out of work.
 */
export class MetagraphWatch {
  private acceptLoss: boolean;

  constructor(private readonly options: MetagraphWatchOptions) {
    this.acceptLoss = options.acceptLoss;
  }

  /** One sweep. Never throws: what is wrong is an error in the log, every time, until it is mended. */
  async run(): Promise<void> {
    const { source, store, log } = this.options;
    if (source === null) return;
    try {
      const outcome = await store.store(source.name, readMetagraph(await source.read()), this.acceptLoss);
      this.report(source.name, outcome);
    } catch (error) {
      const problem = isStudioError(error) ? error.message : undefined;
      log.error({ err: problem ?? error, source: source.name }, UNREADABLE);
    }
  }

  private report(source: string, { outcome, ...change }: StoreOutcome): void {
    const { log, onChange } = this.options;
    if (outcome === 'refused') {
      log.error({ source, ...change }, SHRUNK);
      return;
    }
    this.acceptLoss = false;
    if (change.left + change.joined + change.withdrawn + change.moved === 0) return;
    log.info({ source, ...change }, 'the metagraph has changed');
    onChange();
  }
}

const UNREADABLE =
  'the metagraph cannot be read: the last good one stays in force. See that the source (METAGRAPH_FILE or PYLON_URL) ' +
  'answers and names the neurons of this subnet';

const SHRUNK =
  'the metagraph has lost more than half of its members at once: the last good one stays in force. Check NETUID and the ' +
  'source; if it is right, start the registry once with METAGRAPH_ACCEPT_LOSS=true';
