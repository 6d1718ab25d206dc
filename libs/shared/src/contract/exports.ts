/**
 * `GET /v1/exports/{kind}/{name}`: the log of score events, and all that it is recomputed with, as a file that proves itself.
 *
 * Lines of canonical JSON (RFC 8785), compressed with gzip. Each is an object with one field, which says what it is:
 * `header`; `event` for every event of the log from `from_seq` to `to_seq`; in the export of an epoch also `draws` (the header
 * of its draws), `draw` for every awarded job, and `snapshot`. The last line is a `SignedHead`: the Merkle root over all lines
 * before it (protocol/merkle.ts; a leaf is a line as it stands there, without its end), signed by the registry.
 *
 * *Epoch*: the events that the epoch's snapshot was made from, and that snapshot's own as the last: everything in it can be
 * computed from the file alone. *Hour*: the events of an hour; the hours together are the whole log, each event once.
 */
import { Type } from 'class-transformer';
import { IsIn, IsInt, IsOptional, Matches, Max, Min } from 'class-validator';
import type { Policy } from '../domain/policy';
import type { DrawExportHeader, DrawExportRow } from './draws';
import type { ScoreEvent, Snapshot } from './scores';

/** A change of what lines say is a new number; stored heads keep theirs. */
export const EXPORT_FORMAT = 1;

export const EXPORT_KINDS = ['epoch', 'hour'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

/** `previous` of the first head of its kind. */
export const NO_PREVIOUS = '0'.repeat(64);

export interface ExportHeader {
  format: number;
  kind: ExportKind;
  /** An epoch's number, or an hour as `2026-02-03T04Z`. */
  name: string;
  from_seq: number;
  to_seq: number;
  /** Every policy that was in force until then, by version. */
  policies: Policy[];
}

/** A row of the epoch's draws, with what else its points are computed from. */
export interface ExportedDraw extends DrawExportRow {
  /** T_max of the job; null where the job is not known any more, which never happens to an awarded one. */
  timeout_ms: number | null;
}

export type ExportLine =
  | { header: ExportHeader }
  | { event: ScoreEvent }
  | { draws: DrawExportHeader }
  | { draw: ExportedDraw }
  | { snapshot: Snapshot };

export interface ExportHead extends Omit<ExportHeader, 'policies'> {
  /** Leaves of the tree: every line but the last. */
  lines: number;
  /** Of the tree, hex. */
  root: string;
  /** Hash of the head before it of the same kind (protocol/merkle-head.ts). */
  previous: string;
  /** Time of the database. */
  signed_at: string;
  /** SS58: the registry's hotkey, as `GET /v1/identity` says it. */
  signer: string;
}

/** Last line of the file, and reply to `GET /v1/exports/{kind}/{name}/head`. */
export interface SignedHead {
  head: ExportHead;
  signature: string;
}

/** `GET /v1/exports/{kind}/{name}/proof/{seq}`: that the event is in the export. */
export interface InclusionProof extends SignedHead {
  leaf_index: number;
  /** The line. */
  leaf: string;
  /** Hashes beside the way from the leaf to `head.root`, hex. */
  path: string[];
}

/** Reply to `GET /v1/exports`. */
export interface ExportList {
  /** Newest first. */
  exports: SignedHead[];
}

export const EXPORTS_PAGE = 100;

export class ExportsQuery {
  @IsIn(EXPORT_KINDS)
  kind: ExportKind = 'epoch';

  /** `to_seq` of the last head that was received: goes on with older ones. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  before?: number;

  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(EXPORTS_PAGE)
  limit = EXPORTS_PAGE;
}

export class ExportName {
  @IsIn(EXPORT_KINDS)
  kind!: ExportKind;

  @Matches(/^(latest|[1-9]\d{0,9}|\d{4}-\d\d-\d\dT\d\dZ)$/, {
    message: 'has to be the number of an epoch, an hour as 2026-02-03T04Z, or latest',
  })
  name!: string;
}

export class ExportedEvent extends ExportName {
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  seq!: number;
}
