import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- Whether somebody wants to be told of the job's end: most jobs end without a look at the table of those who do.
ALTER TABLE studio.jobs ADD COLUMN webhook boolean NOT NULL DEFAULT false;

-- One row a job that has a webhook, from its submission on. Its life:
--   waiting    the job has not ended; the trigger below makes it pending
--   pending    to be delivered at next_at; a try makes it delivered, pending again, or dead
--   delivered  the receiver took it; dead: every try of the schedule failed. A client may make both pending again.
CREATE TABLE studio.webhooks (
  job_id      uuid PRIMARY KEY,
  client_id   uuid NOT NULL,
  -- Often holds a secret of the client's.
  url         text NOT NULL,
  -- Scheme, host and port: what may be slow for all its webhooks together.
  target      text NOT NULL GENERATED ALWAYS AS (substring(url FROM '^[^/]+//[^/?#]+')) STORED,
  -- Whose result route the payload is.
  form        text NOT NULL CHECK (form IN ('fal', 'v1')),
  state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'pending', 'delivered', 'dead')),
  pending_at  timestamptz,
  next_at     timestamptz,
  -- Who tries now: fences what an earlier holder still has to say. Over lease_until it is anybody's again.
  lease_no    integer NOT NULL DEFAULT 0,
  lease_until timestamptz,
  -- Ended tries, all of them; and those that failed since the last beginning of the schedule.
  attempts    integer NOT NULL DEFAULT 0,
  failures    integer NOT NULL DEFAULT 0,
  last_at     timestamptz,
  last_status integer,
  last_error  text,
  created_at  timestamptz NOT NULL DEFAULT studio.now(),
  ended_at    timestamptz,
  CHECK ((state = 'pending') = (next_at IS NOT NULL)),
  CHECK ((state IN ('delivered', 'dead')) = (ended_at IS NOT NULL))
);
-- Whose turn it is: the first of each client.
CREATE INDEX webhooks_pending ON studio.webhooks (client_id, next_at) WHERE state = 'pending';
CREATE INDEX webhooks_of_client ON studio.webhooks (client_id, job_id);

-- In the transaction that ends the job, whichever way it ends: no end goes untold.
CREATE FUNCTION studio.tell_of_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE studio.webhooks SET state = 'pending', pending_at = studio.now(), next_at = studio.now()
   WHERE job_id = NEW.id AND state = 'waiting';
  RETURN NULL;
END $$;
CREATE TRIGGER jobs_tell_of_end AFTER UPDATE ON studio.jobs FOR EACH ROW
  WHEN (NEW.webhook AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)
  EXECUTE FUNCTION studio.tell_of_end();
`;

const DOWN = `
DROP TRIGGER jobs_tell_of_end ON studio.jobs;
DROP FUNCTION studio.tell_of_end();
DROP TABLE studio.webhooks;
ALTER TABLE studio.jobs DROP COLUMN webhook;
`;

export class Webhooks1795900000005 implements MigrationInterface {
  readonly name = 'Webhooks1795900000005';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(DOWN);
  }
}
