import type { connectDataSource } from '@studio/shared/database/data-source';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { DrawExportStore } from './draw-export.store';
import { ExportFiles } from './export-files';
import { ExportKeeper } from './export-keeper';
import { ExportLines } from './export-lines';
import { ExportStore } from './export.store';
import type { ScoreStore } from './score.store';
import type { SnapshotStore } from './snapshot.store';

/** One small query; an epoch's export is there so long after its snapshot, and the time that its lines take. */
const SWEEP_MS = 1_000;

export interface ExportParts {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  scores: ScoreStore;
  snapshots: SnapshotStore;
  /** Of the registry's hotkey. */
  seed: string;
  log: Logger;
}

/** The part of the registry that signs exports and hands them out. */
export function assembleExports({ db, scores, snapshots, seed, log }: ExportParts) {
  const store = new ExportStore(db);
  const lines = new ExportLines({ scores, snapshots, draws: new DrawExportStore(db), store });
  const keeper = new ExportKeeper({ store, lines, key: hotkeyFromSeed(seed), log });
  return {
    files: new ExportFiles(store, lines, log),
    sweeper: new Sweeper({ name: 'exports', everyMs: SWEEP_MS, run: (signal) => keeper.run(signal), log }),
  };
}
