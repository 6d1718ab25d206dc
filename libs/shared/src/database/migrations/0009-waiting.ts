import type { MigrationInterface, QueryRunner } from 'typeorm';

const CHANGES = `
-- What a miner says of its steps: AttemptProgress in domain/job.ts. In no index, so that reports are cheap updates.
ALTER TABLE studio.attempts ADD COLUMN progress jsonb;
-- Nobody waits longer for the first attempt; null: until the deadline.
ALTER TABLE studio.jobs ADD COLUMN start_by timestamptz;
-- How the client wants to be handed its images: Presentation in domain/job.ts. No miner sees it.
ALTER TABLE studio.jobs ADD COLUMN presentation jsonb;
CREATE INDEX jobs_start_by ON studio.jobs (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
-- Pieces of a file that is put by fal's storage protocol; each is an artifact until they are put together.
CREATE TABLE studio.upload_parts (
  writing bytea NOT NULL REFERENCES studio.upload_slots ON DELETE CASCADE,
  part    int NOT NULL CHECK (part > 0),
  sha256  text NOT NULL,
  bytes   bigint NOT NULL,
  PRIMARY KEY (writing, part)
);
`;

export class Waiting1796400000009 implements MigrationInterface {
  readonly name = 'Waiting1796400000009';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(CHANGES);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE studio.upload_parts');
    await runner.query('ALTER TABLE studio.jobs DROP COLUMN start_by, DROP COLUMN presentation');
    await runner.query('ALTER TABLE studio.attempts DROP COLUMN progress');
  }
}
