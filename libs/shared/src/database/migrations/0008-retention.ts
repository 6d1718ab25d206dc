import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What has to stay, and where the rest goes: jobs into files of the artifact store, with one short row each left here. */
const UP = String.raw`
-- When a job last named it, to the hour: what nothing living names and nobody used for long is removed.
ALTER TABLE studio.artifacts ADD COLUMN used_at timestamptz NOT NULL DEFAULT studio.now();
CREATE INDEX artifacts_used ON studio.artifacts (used_at);
CREATE INDEX upload_slots_created ON studio.upload_slots (created_at);

-- Files of archived jobs: NDJSON, gzipped, in the artifact store under this hash.
CREATE TABLE studio.job_archives (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256     text NOT NULL UNIQUE,
  bytes      bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);

-- What is still asked of a job that is in such a file: whose it was, and what exports say of it.
CREATE TABLE studio.archived_jobs (
  id              uuid PRIMARY KEY,
  client_id       uuid NOT NULL,
  idempotency_key text,
  timeout_ms      integer NOT NULL,
  archive         integer NOT NULL REFERENCES studio.job_archives (id)
);

CREATE VIEW studio.job_facts AS
  SELECT id, idempotency_key, timeout_ms FROM studio.jobs
  UNION ALL
  SELECT id, idempotency_key, timeout_ms FROM studio.archived_jobs;

-- Audits that somebody may still have to repeat: those under way, and invalid verdicts that were neither taken back nor
-- appealed against to the end.
CREATE VIEW studio.open_cases AS
  SELECT a.id AS audit_id, a.job_id FROM studio.audits a
   WHERE a.state <> 'decided'
      OR (EXISTS (SELECT 1 FROM studio.verdicts v WHERE v.audit_id = a.id AND v.outcome = 'invalid')
          AND NOT EXISTS (SELECT 1 FROM studio.corrections c WHERE c.job_id = a.job_id)
          AND NOT EXISTS (
            SELECT 1 FROM studio.audits again WHERE again.job_id = a.job_id AND again.round = 2 AND again.state = 'decided'));
`;

export class Retention1796500000008 implements MigrationInterface {
  readonly name = 'Retention1796500000008';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP VIEW studio.open_cases, studio.job_facts');
    await runner.query('DROP TABLE studio.archived_jobs, studio.job_archives');
    await runner.query('DROP INDEX studio.artifacts_used, studio.upload_slots_created');
    await runner.query('ALTER TABLE studio.artifacts DROP COLUMN used_at');
  }
}
