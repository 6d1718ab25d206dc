import { EXPORT_FORMAT, NO_PREVIOUS, type ExportHead } from '@studio/shared/contract/exports';
import type { Logger } from '@studio/shared/platform/logger';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { GrowingTree, leafHash } from '@studio/shared/protocol/merkle';
import { headHash, signHead } from '@studio/shared/protocol/merkle-head';
import type { ExportLines } from './export-lines';
import { dueHour, hourEnd, type ExportRange } from './export-range';
import type { ExportState, ExportStore } from './export.store';

export interface ExportKeeperOptions {
  store: ExportStore;
  lines: ExportLines;
  /** The registry's. */
  key: Hotkey;
  log: Pick<Logger, 'info'>;
}

/**
 * Signs the export of every closed epoch and of every hour that is over, in order, each once. Any number of replicas may do
 * so: what they read is the same, and the first head that is written stands. One that dies before that has changed nothing.
 */
export class ExportKeeper {
  constructor(private readonly options: ExportKeeperOptions) {}

  /** One sweep: signs one export at most. @returns true when another may be due. */
  async run(signal?: AbortSignal): Promise<boolean> {
    const state = await this.options.store.state();
    const range = (await this.epochDue(state)) ?? (await this.hourDue(state));
    if (range === null) return false;
    await this.sign(range, state, signal);
    return true;
  }

  private async epochDue({ epoch: last, snapshotSeq: toSeq }: ExportState): Promise<ExportRange | null> {
    if (toSeq === null) return null;
    const epoch = Number(last?.name ?? 0) + 1;
    const { windowEpochs } = await this.options.store.policyOf(epoch);
    const fromSeq = await this.options.store.startOf({ epoch, windowEpochs });
    return { kind: 'epoch', name: String(epoch), fromSeq, toSeq };
  }

  private async hourDue({ hour: last, nextAt, now }: ExportState): Promise<ExportRange | null> {
    const name = nextAt && dueHour(last, nextAt, now);
    if (name === null) return null;
    const before = last?.to_seq ?? 0;
    return { kind: 'hour', name, fromSeq: before + 1, toSeq: await this.options.store.cut(before, hourEnd(name)) };
  }

  private async sign(range: ExportRange, state: ExportState, signal?: AbortSignal): Promise<void> {
    const { store, lines, key, log } = this.options;
    const tree = new GrowingTree();
    for await (const page of lines.pages(range)) {
      signal?.throwIfAborted();
      for (const line of page) tree.add(leafHash(line));
    }
    const { kind, name, fromSeq, toSeq } = range;
    const last = state[kind];
    const head: ExportHead = {
      format: EXPORT_FORMAT,
      kind,
      name,
      from_seq: fromSeq,
      to_seq: toSeq,
      lines: tree.size,
      root: tree.root().toString('hex'),
      previous: last === null ? NO_PREVIOUS : headHash(last),
      signed_at: state.now.toISOString(),
      signer: key.address,
    };
    const added = await store.add({ head, signature: signHead(head, key) }, Buffer.concat(tree.tiles()));
    if (added) log.info({ kind, name, lines: head.lines, root: head.root }, 'export signed');
  }
}
