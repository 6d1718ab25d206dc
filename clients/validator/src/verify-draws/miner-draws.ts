import type { DrawExportRow, DrawnFrom } from '@studio/shared/contract/draws';
import type { JobKind } from '@studio/shared/domain/job';

/** What is kept of a row until all rows of its miner and kind are there. */
export interface Draw {
  jobId: string;
  u: bigint;
  drawn: boolean;
  audited: DrawExportRow['audited'];
  record: DrawnFrom | null;
  finishedAt: string;
  takenAt: string;
}

/** The jobs of one miner and kind that could be drawn. */
export interface MinerDraws {
  hotkey: string;
  kind: JobKind;
  draws: Draw[];
}
