import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Heads of signed exports. The lines themselves are made anew from the ledger whenever somebody reads them: it is
 * append-only, so they have the same bytes each time. A head is written once and never changed.
 */
const UP = String.raw`
CREATE TABLE studio.exports (
  kind      text NOT NULL CHECK (kind IN ('epoch', 'hour')),
  -- An epoch's number, or an hour as 2026-02-03T04Z.
  name      text NOT NULL,
  from_seq  bigint NOT NULL CHECK (from_seq >= 1),
  to_seq    bigint NOT NULL CHECK (to_seq >= from_seq),
  -- The signed text's object (ExportHead), as it was signed.
  head      jsonb NOT NULL,
  signature text NOT NULL,
  -- Hash of the head before it of the same kind. Unique: the chain has no second branch, however many replicas there are.
  previous  text NOT NULL,
  -- 32 bytes for every 1,024 lines: a proof then needs only those lines again.
  tiles     bytea NOT NULL,
  PRIMARY KEY (kind, name),
  UNIQUE (kind, previous),
  UNIQUE (kind, to_seq)
);
`;

export class Exports1795700000003 implements MigrationInterface {
  readonly name = 'Exports1795700000003';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE studio.exports');
  }
}
