import type { MigrationInterface, QueryRunner } from 'typeorm';

const CHANGES = `
-- A key made before this has every right and no limit, as it had.
ALTER TABLE studio.client_keys
  ADD COLUMN scopes text[] NOT NULL DEFAULT ARRAY['jobs:read', 'jobs:write', 'files:write'],
  ADD COLUMN requests_per_minute int CHECK (requests_per_minute > 0),
  ADD COLUMN queued_jobs int CHECK (queued_jobs > 0);
CREATE INDEX client_keys_of_client ON studio.client_keys (client_id);

-- What operators did to keys. Rows are only ever added: by its grants, nobody can change or delete one.
CREATE TABLE studio.client_key_events (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key_id    uuid NOT NULL REFERENCES studio.client_keys,
  client_id uuid NOT NULL,
  action    text NOT NULL CHECK (action IN ('created', 'limited', 'revoked')),
  -- What it then was: name, scopes, limits.
  detail    jsonb NOT NULL,
  who       text NOT NULL,
  origin    text NOT NULL,
  at        timestamptz NOT NULL DEFAULT studio.now()
);

CREATE INDEX jobs_queued ON studio.jobs (client_id) WHERE state = 'queued';

-- How many more jobs each of these clients may queue, and the limit; no row for a client without one. The strictest of its keys
-- counts. The lock lasts until the caller's commit, and the count sees what was committed before the lock was had (a volatile
-- function looks anew at each statement): whatever the replicas insert at once, the sum is right. Locks are taken in one order.
CREATE FUNCTION studio.queue_room(clients uuid[]) RETURNS TABLE (client_id uuid, room int, most int)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  asked record;
BEGIN
  FOR asked IN
    SELECT k.client_id AS id, min(k.queued_jobs) AS most FROM studio.client_keys k
     WHERE k.client_id = ANY(clients) AND k.revoked_at IS NULL AND k.queued_jobs IS NOT NULL
     GROUP BY k.client_id ORDER BY hashtext(k.client_id::text)
  LOOP
    PERFORM pg_advisory_xact_lock(7301009, hashtext(asked.id::text));
    RETURN QUERY SELECT asked.id, asked.most - (SELECT count(*)::int FROM (
      SELECT 1 FROM studio.jobs j WHERE j.client_id = asked.id AND j.state = 'queued' LIMIT asked.most) waiting), asked.most;
  END LOOP;
END $$;
`;

export class ClientKeys1795900000006 implements MigrationInterface {
  readonly name = 'ClientKeys1795900000006';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(CHANGES);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP FUNCTION studio.queue_room(uuid[]);
      DROP INDEX studio.jobs_queued;
      DROP TABLE studio.client_key_events;
      DROP INDEX studio.client_keys_of_client;
      ALTER TABLE studio.client_keys DROP COLUMN scopes, DROP COLUMN requests_per_minute, DROP COLUMN queued_jobs`);
  }
}
