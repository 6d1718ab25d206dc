/** Ledger entries go to the registry until it has acknowledged them; it appends each once. */
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import {
  LEDGER_BATCH,
  type AppendLedgerCommand,
  type AppendLedgerReply,
  type LedgerEntryMessage,
} from '@studio/shared/contract/ledger';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { isStudioError, type ErrorCode, type StudioError } from '@studio/shared/domain/errors';
import { requestJson } from '@studio/shared/platform/nats';
import type { Delivery, OutboxStore } from './outbox.store';

/** Well inside the bound of the transaction that waits for it (grants.ts). */
const APPEND_TIMEOUT_MS = 5_000;

/** The registry's word on the content of an entry; anything else is an outage, and the batch waits for its end. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['LEDGER_REFUSED', 'INVALID_INPUT']);

export class LedgerRelay {
  constructor(
    private readonly store: OutboxStore,
    private readonly nats: NatsConnection,
    private readonly log: Pick<Logger, 'error'>,
    /** Hears that entries were acknowledged. */
    private readonly onAcknowledged: () => void,
  ) {}

  /** Sends one batch. @returns whether more entries are known to wait. */
  async run(): Promise<boolean> {
    const delivery = await this.store.relay(LEDGER_BATCH, (entries) => this.deliver(entries));
    if (!delivery) return false;
    if (delivery.acknowledged.length > 0) this.onAcknowledged();
    return delivery.refused.length > 0 || delivery.acknowledged.length === LEDGER_BATCH;
  }

  /** All or nothing at the registry: a refused batch names the entries at fault, and the others go with the next run. */
  private async deliver(entries: LedgerEntryMessage[]): Promise<Delivery> {
    try {
      return { acknowledged: await this.append(entries), refused: [] };
    } catch (error) {
      if (!isStudioError(error) || !REFUSALS.has(error.code)) throw error;
      const refused = refusedEntries(entries, error);
      this.log.error({ refused }, 'the registry refuses ledger entries: their epoch cannot settle');
      return { acknowledged: [], refused };
    }
  }

  private async append(entries: LedgerEntryMessage[]): Promise<string[]> {
    const command: AppendLedgerCommand = { entries };
    const { seqs } = await requestJson<AppendLedgerReply>(this.nats, SUBJECTS.appendLedger.subject, command, {
      timeoutMs: APPEND_TIMEOUT_MS,
    });
    return Object.keys(seqs);
  }
}

/** Problems have the path `entries.<index>…`; a refusal that names none holds for the whole batch. */
function refusedEntries(entries: readonly LedgerEntryMessage[], error: StudioError): Delivery['refused'] {
  const named = error.fields.flatMap(({ path, message }) => {
    const entry = entries[Number(/^entries\.(\d+)/.exec(path)?.[1])];
    return entry ? [{ id: entry.id, refusal: `${error.code}: ${message}` }] : [];
  });
  if (named.length > 0) return [...new Map(named.map((one) => [one.id, one])).values()];
  return entries.map(({ id }) => ({ id, refusal: `${error.code}: ${error.message}` }));
}
