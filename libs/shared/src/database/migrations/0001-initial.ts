import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The first schema. Read it in the order of a job's life: client keys, jobs, attempts (querier); draws, audits,
 * verdicts (auditor); ledger, epochs, snapshots (registry). Who may write what is settled in grants.ts.
 *
 * All time comes from `studio.now()`. It is STABLE, so that an index on a time column can be used; tests replace it.
 */
const UP = String.raw`
CREATE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
  AS 'SELECT statement_timestamp()';

CREATE FUNCTION studio.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'row of %.% is final', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'ST001';
END $$;

-- ───────────────────────────────────────────────────────────── querier
CREATE TABLE studio.client_keys (
  id         uuid PRIMARY KEY,
  client_id  uuid NOT NULL,
  name       text NOT NULL,
  prefix     text NOT NULL UNIQUE,
  hash       bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now(),
  revoked_at timestamptz
);

CREATE TABLE studio.jobs (
  id               uuid PRIMARY KEY,
  client_id        uuid NOT NULL,
  idempotency_key  text,
  request_hash     bytea NOT NULL,
  kind             text NOT NULL,
  engine           text NOT NULL,
  input            jsonb NOT NULL,
  routing          jsonb NOT NULL DEFAULT '{}',
  state            text NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'running', 'awaiting-callback', 'succeeded', 'failed', 'cancelled', 'expired')),
  timeout_ms       integer NOT NULL,
  created_at       timestamptz NOT NULL DEFAULT studio.now(),
  deadline_at      timestamptz NOT NULL,
  -- When a worker should look next: a queued job's turn, a running job's lease end, an awaited callback's timeout.
  wake_at          timestamptz NOT NULL DEFAULT studio.now(),
  lease_no         integer NOT NULL DEFAULT 0,
  worker           text,
  attempt_no       integer NOT NULL DEFAULT 0,
  accepted_attempt integer,
  result           jsonb,
  failure          jsonb,
  finished_at      timestamptz,
  CHECK ((state = 'succeeded') = (result IS NOT NULL)),
  CHECK ((state IN ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- Every job leaves three dead rows in the queue's indexes: the default of 20 % would let them outnumber the live ones.
CREATE UNIQUE INDEX jobs_idempotency ON studio.jobs (client_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Finished rows are in neither of the next two: they cost a claim nothing.
CREATE INDEX jobs_wake ON studio.jobs (wake_at) WHERE state IN ('queued', 'running', 'awaiting-callback');
CREATE INDEX jobs_deadline ON studio.jobs (deadline_at) WHERE state IN ('queued', 'running', 'awaiting-callback');
CREATE INDEX jobs_finished ON studio.jobs (finished_at, id) WHERE state = 'succeeded';
CREATE INDEX jobs_of_client ON studio.jobs (client_id, id);
CREATE TRIGGER jobs_terminal_is_final BEFORE UPDATE ON studio.jobs FOR EACH ROW
  WHEN (OLD.state IN ('succeeded', 'failed', 'cancelled', 'expired'))
  EXECUTE FUNCTION studio.refuse_change();

CREATE TABLE studio.attempts (
  job_id          uuid NOT NULL REFERENCES studio.jobs (id),
  attempt_no      integer NOT NULL,
  hotkey          text NOT NULL,
  operator        text NOT NULL,
  kind            text NOT NULL,
  engine          text NOT NULL,
  state           text NOT NULL DEFAULT 'open'
    CHECK (state IN ('open', 'accepted', 'invalid', 'failed', 'busy', 'timeout', 'superseded', 'cancelled')),
  blame           text NOT NULL DEFAULT 'none' CHECK (blame IN ('none', 'miner', 'network', 'ours')),
  reason          text,
  lease_no        integer NOT NULL,
  callback_hash   bytea NOT NULL,
  sent_at         timestamptz NOT NULL DEFAULT studio.now(),
  finished_at     timestamptz,
  -- Microseconds: raw by our clock, what is credited for the network, and what is left (incentive.md).
  raw_us          bigint,
  credit_us       bigint,
  net_us          bigint,
  -- What the credit was computed from: {rttMinUs, freshTls, canonicalBytes}. With timeout_ms anyone can compute it again.
  network         jsonb,
  -- A stall or crash of ours overlapped the measurement: the miner's median is used instead.
  void            boolean NOT NULL DEFAULT false,
  -- A second attempt beside a slow one; it does not count towards the maximum.
  hedge           boolean NOT NULL DEFAULT false,
  -- How the miner was spoken to: its callback comes in the same dialect, whatever it registers meanwhile.
  dialect         text NOT NULL DEFAULT 'native' CHECK (dialect IN ('native', 'dippy')),
  -- The miner's signature over what it answered (contract/receipt.ts); null where its dialect has none.
  receipt         jsonb,
  PRIMARY KEY (job_id, attempt_no)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- What is under way at each miner, asked before every claim: it may not cost more as attempts pile up.
CREATE INDEX attempts_open ON studio.attempts (hotkey, kind, engine) WHERE state = 'open';
CREATE UNIQUE INDEX attempts_one_accepted ON studio.attempts (job_id) WHERE state = 'accepted';
CREATE INDEX attempts_of_miner ON studio.attempts (hotkey, kind, finished_at DESC) WHERE state = 'accepted';
-- A miner's own history, newest first; and everybody's of the last hour, for the fairness of routing.
CREATE INDEX attempts_of_hotkey ON studio.attempts (hotkey, sent_at DESC);
CREATE INDEX attempts_sent ON studio.attempts USING brin (sent_at);
CREATE TRIGGER attempts_closed_is_final BEFORE UPDATE ON studio.attempts FOR EACH ROW
  WHEN (OLD.state <> 'open') EXECUTE FUNCTION studio.refuse_change();

CREATE TABLE studio.artifacts (
  sha256       text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  bytes        bigint NOT NULL,
  content_type text NOT NULL,
  -- ImageRef or LoraRef without the fields above: what the checks found out about it.
  facts        jsonb NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT studio.now()
);

CREATE TABLE studio.miner_measurements (
  hotkey      text PRIMARY KEY,
  rtt_min_us  bigint NOT NULL,
  samples     integer NOT NULL,
  -- Where its endpoint led when it was last connected to, as IP:port, and since when.
  address       text,
  address_since timestamptz,
  measured_at timestamptz NOT NULL DEFAULT studio.now()
);

-- How many of the declared slots a miner has proven to have. A projection that Redis keeps between these writes.
CREATE TABLE studio.miner_slots (
  hotkey     text NOT NULL,
  kind       text NOT NULL,
  engine     text NOT NULL,
  proven     integer NOT NULL CHECK (proven >= 1),
  updated_at timestamptz NOT NULL DEFAULT studio.now(),
  PRIMARY KEY (hotkey, kind, engine)
);

-- ───────────────────────────────────────────────────────────── auditor
CREATE TABLE studio.draw_secrets (
  epoch      integer PRIMARY KEY,
  secret     bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);
CREATE TABLE studio.draw_commitments (
  epoch      integer PRIMARY KEY,
  commitment text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);

-- One row per succeeded job that the auditor took in: its award and its draw.
CREATE TABLE studio.draws (
  job_id         uuid PRIMARY KEY,
  attempt_no     integer NOT NULL,
  hotkey         text NOT NULL,
  operator       text NOT NULL,
  kind           text NOT NULL,
  engine         text NOT NULL,
  epoch          integer NOT NULL,
  policy_version integer NOT NULL,
  latency_us     bigint NOT NULL,
  points         bigint NOT NULL,
  award_id       uuid,
  -- Jobs of our own (replays) are awarded but never drawn: q and u are null.
  q              double precision,
  u              numeric(20),
  drawn          boolean NOT NULL,
  -- When the job finished: the newest one is where taking in goes on.
  finished_at    timestamptz NOT NULL,
  taken_at       timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX draws_finished ON studio.draws (finished_at);
CREATE INDEX draws_of_miner ON studio.draws (hotkey, kind, epoch);

CREATE TABLE studio.audits (
  id         uuid PRIMARY KEY,
  job_id     uuid NOT NULL UNIQUE REFERENCES studio.draws (job_id),
  hotkey     text NOT NULL,
  operator   text NOT NULL,
  kind       text NOT NULL,
  engine     text NOT NULL,
  epoch      integer NOT NULL,
  why        text NOT NULL CHECK (why IN ('draw', 'floor', 'copy', 'replica')),
  -- What else speaks against the result before any replay: evidence of a copy, or the comparison a replica failed.
  suspicion  jsonb,
  state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replaying', 'decided')),
  due_at     timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX audits_open ON studio.audits (due_at) WHERE state <> 'decided';
CREATE INDEX audits_of_epoch ON studio.audits (epoch) WHERE state <> 'decided';

CREATE TABLE studio.audit_replays (
  audit_id   uuid NOT NULL REFERENCES studio.audits (id),
  ordinal    integer NOT NULL,
  judge      text NOT NULL CHECK (judge IN ('trusted', 'peer')),
  -- Idempotency key of the audit job, known before the job is: its result may be there before the reply is.
  request_key uuid NOT NULL UNIQUE,
  -- Sent again with the request: the same key must come with the same words.
  routing    jsonb NOT NULL,
  job_id     uuid UNIQUE,
  created_at timestamptz NOT NULL DEFAULT studio.now(),
  -- The querier would not take it: another replay takes its place.
  refused_at timestamptz,
  refusal    text,
  PRIMARY KEY (audit_id, ordinal)
);

CREATE TABLE studio.verdicts (
  audit_id   uuid PRIMARY KEY REFERENCES studio.audits (id),
  job_id     uuid NOT NULL UNIQUE,
  attempt_no integer NOT NULL,
  hotkey     text NOT NULL,
  kind       text NOT NULL,
  -- Epoch of the award, and the epoch in which the verdict was reached (at whose close it takes effect).
  epoch      integer NOT NULL,
  decided_in integer NOT NULL,
  outcome    text NOT NULL CHECK (outcome IN ('valid', 'invalid', 'inconclusive')),
  reason     text NOT NULL,
  evidence   jsonb NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX verdicts_of_epoch ON studio.verdicts (decided_in);

-- A projection of draws and verdicts, kept in the same transactions.
CREATE TABLE studio.miner_trust (
  hotkey    text NOT NULL,
  kind      text NOT NULL,
  jobs_seen integer NOT NULL DEFAULT 0,
  audits    integer NOT NULL DEFAULT 0,
  passes    integer NOT NULL DEFAULT 0,
  cusum     double precision NOT NULL DEFAULT 0,
  PRIMARY KEY (hotkey, kind)
);

CREATE TABLE studio.quarantines (
  id          uuid PRIMARY KEY,
  hotkey      text NOT NULL,
  kind        text NOT NULL,
  from_epoch  integer NOT NULL,
  until_epoch integer NOT NULL,
  reason      text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX quarantines_of_miner ON studio.quarantines (hotkey, until_epoch);

-- Every adapter that a client got, for the rule against copies of another image's adapter.
CREATE TABLE studio.adapters (
  job_id      uuid PRIMARY KEY,
  hotkey      text NOT NULL,
  engine      text NOT NULL,
  image_hash  text NOT NULL,
  lora_sha256 text NOT NULL,
  taken_at    timestamptz NOT NULL DEFAULT studio.now(),
  -- When it was compared with the others; null: still to do.
  checked_at  timestamptz
);
CREATE INDEX adapters_recent ON studio.adapters (engine, taken_at DESC);
CREATE INDEX adapters_unchecked ON studio.adapters (taken_at) WHERE checked_at IS NULL;

CREATE TABLE studio.ledger_outbox (
  entry_id   uuid PRIMARY KEY,
  ord        bigint GENERATED ALWAYS AS IDENTITY,
  payload    jsonb NOT NULL,
  -- Epoch at whose close a reversal was decided; null for awards. Closing again then decides the same.
  closing    integer,
  created_at timestamptz NOT NULL DEFAULT studio.now(),
  acked_at   timestamptz,
  -- The registry's last refusal: a fault of ours that a person has to look at. Sent again from time to time.
  refused_at timestamptz,
  refusal    text
);
CREATE INDEX ledger_outbox_open ON studio.ledger_outbox (ord) WHERE acked_at IS NULL;

-- Written when every reversal of an epoch is in the ledger: the registry may now take the snapshot.
CREATE TABLE studio.settlements (
  epoch      integer PRIMARY KEY,
  secret     text NOT NULL,
  settled_at timestamptz NOT NULL DEFAULT studio.now()
);

-- ───────────────────────────────────────────────────────────── registry
CREATE TABLE studio.policies (
  version    integer PRIMARY KEY,
  body       jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);

CREATE TABLE studio.epochs (
  epoch          integer PRIMARY KEY,
  state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closing', 'closed')),
  policy_version integer NOT NULL REFERENCES studio.policies (version),
  commitment     text NOT NULL,
  opened_at      timestamptz NOT NULL DEFAULT studio.now(),
  closing_at     timestamptz,
  closed_at      timestamptz
);
CREATE UNIQUE INDEX epochs_one_open ON studio.epochs (state) WHERE state = 'open';

CREATE TABLE studio.miners (
  hotkey        text PRIMARY KEY,
  operator      text NOT NULL,
  endpoint      text NOT NULL,
  dialect       text NOT NULL CHECK (dialect IN ('native', 'dippy')),
  -- [{kind, engine, slots}]
  offers        jsonb NOT NULL,
  -- A reference: audits are replayed on it, clients' jobs never reach it, it earns nothing.
  trusted       boolean NOT NULL DEFAULT false,
  withdrawn_at  timestamptz,
  registered_at timestamptz NOT NULL DEFAULT studio.now(),
  updated_at    timestamptz NOT NULL DEFAULT studio.now()
);
CREATE UNIQUE INDEX miners_endpoint ON studio.miners (endpoint) WHERE withdrawn_at IS NULL;

-- The metagraph as it was last read: who belongs to the subnet. Rows stay when a miner leaves it, with member = false.
CREATE TABLE studio.neurons (
  hotkey     text PRIMARY KEY,
  uid        integer NOT NULL,
  coldkey    text NOT NULL,
  -- In TAO, decimal, as the source wrote it: for reading, nothing is computed from it.
  stake      text NOT NULL,
  member     boolean NOT NULL DEFAULT true,
  updated_at timestamptz NOT NULL DEFAULT studio.now()
);

-- One row once a metagraph has been read; without one, everybody may take part.
CREATE TABLE studio.metagraph (
  one     boolean PRIMARY KEY DEFAULT true CHECK (one),
  source  text NOT NULL,
  block   bigint,
  read_at timestamptz NOT NULL DEFAULT studio.now()
);

CREATE TABLE studio.registry_nonces (
  hotkey  text NOT NULL,
  nonce   text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT studio.now(),
  PRIMARY KEY (hotkey, nonce)
);

-- One row: the last number given out to a ledger entry or a snapshot. A sequence would leave gaps.
CREATE TABLE studio.score_counter (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  last_seq bigint NOT NULL
);
INSERT INTO studio.score_counter (last_seq) VALUES (0);

CREATE TABLE studio.ledger (
  seq            bigint PRIMARY KEY,
  entry_id       uuid NOT NULL UNIQUE,
  type           text NOT NULL CHECK (type IN ('award', 'reversal')),
  hotkey         text NOT NULL,
  kind           text NOT NULL,
  job_id         uuid NOT NULL,
  epoch          integer NOT NULL,
  points         bigint NOT NULL,
  reason         text NOT NULL,
  policy_version integer NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT studio.now(),
  UNIQUE (job_id, type),
  CHECK ((type = 'award' AND points >= 0) OR (type = 'reversal' AND points <= 0))
);
CREATE INDEX ledger_of_epoch ON studio.ledger (epoch);

CREATE TABLE studio.snapshots (
  epoch      integer PRIMARY KEY,
  seq        bigint NOT NULL UNIQUE,
  body       text NOT NULL,
  sha256     text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);

-- What validators replay: one gap-free order over ledger entries and snapshots.
CREATE VIEW studio.score_events AS
  SELECT seq, type, epoch, entry_id, hotkey, kind, job_id, points, reason, policy_version, NULL::text AS sha256, created_at
    FROM studio.ledger
  UNION ALL
  SELECT seq, 'snapshot', epoch, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sha256, created_at
    FROM studio.snapshots;

-- How far the relay has published into the stream.
CREATE TABLE studio.score_relay (
  one           boolean PRIMARY KEY DEFAULT true CHECK (one),
  published_seq bigint NOT NULL
);
INSERT INTO studio.score_relay (published_seq) VALUES (0);

-- What is wrong with entries that append_ledger has just inserted above the number base; older ones are repetitions and
-- only have to be the same entry.
CREATE FUNCTION studio.ledger_problems(entries jsonb, base bigint)
RETURNS TABLE (id uuid, problem text) LANGUAGE sql STABLE AS $$
  SELECT * FROM (
    SELECT (t.value->>'id')::uuid AS id,
           CASE
             WHEN l.seq IS NULL
               THEN 'job ' || (t.value->>'jobId') || ' already has an entry of type ' || (t.value->>'type')
             WHEN (l.type, l.hotkey, l.kind, l.job_id, l.epoch, l.points) IS DISTINCT FROM
                  (t.value->>'type', t.value->>'hotkey', t.value->>'kind', (t.value->>'jobId')::uuid,
                   (t.value->>'epoch')::int, (t.value->>'points')::bigint)
               THEN 'this id belongs to an entry with other content'
             WHEN l.seq <= base THEN NULL
             WHEN l.type = 'award' AND NOT EXISTS (
                    SELECT 1 FROM studio.epochs e WHERE e.epoch = l.epoch AND e.state <> 'closed')
               THEN 'epoch ' || l.epoch || ' is closed or was never opened'
             WHEN l.type = 'reversal' AND NOT EXISTS (
                    SELECT 1 FROM studio.ledger a
                     WHERE a.job_id = l.job_id AND a.type = 'award' AND a.hotkey = l.hotkey AND a.kind = l.kind
                       AND a.epoch = l.epoch AND a.points = -l.points AND a.seq < l.seq)
               THEN 'no earlier award of the same job, hotkey, kind and epoch gave exactly these points'
           END AS problem
      FROM jsonb_array_elements(entries) AS t(value)
      LEFT JOIN studio.ledger l ON l.entry_id = (t.value->>'id')::uuid
  ) checked
  WHERE problem IS NOT NULL
$$;

-- Appends entries once each and numbers them without a gap; returns the entries' numbers, old and new. All or nothing:
-- a broken rule raises ST002 with DETAIL [{"id", "problem"}]. Duplicates inside one batch must be dropped by the caller.
-- The counter's row lock comes first: a snapshot takes it too, so an epoch cannot close between the check and the commit.
CREATE FUNCTION studio.append_ledger(entries jsonb)
RETURNS TABLE (entry_id uuid, seq bigint) LANGUAGE plpgsql AS $$
DECLARE
  base bigint;
  added bigint;
  refused jsonb;
BEGIN
  SELECT last_seq INTO base FROM studio.score_counter FOR UPDATE;
  INSERT INTO studio.ledger (seq, entry_id, type, hotkey, kind, job_id, epoch, points, reason, policy_version)
  SELECT base + row_number() OVER (ORDER BY e.ordinal), e.id, e.type, e.hotkey, e.kind, e.job_id, e.epoch, e.points,
         e.reason, e.policy_version
    FROM (
      SELECT t.ordinal, (t.value->>'id')::uuid AS id, t.value->>'type' AS type, t.value->>'hotkey' AS hotkey,
             t.value->>'kind' AS kind, (t.value->>'jobId')::uuid AS job_id, (t.value->>'epoch')::int AS epoch,
             (t.value->>'points')::bigint AS points, t.value->>'reason' AS reason,
             (t.value->>'policyVersion')::int AS policy_version
        FROM jsonb_array_elements(entries) WITH ORDINALITY AS t(value, ordinal)
    ) e
   WHERE NOT EXISTS (
     SELECT 1 FROM studio.ledger l WHERE l.entry_id = e.id OR (l.job_id = e.job_id AND l.type = e.type)
   );
  GET DIAGNOSTICS added = ROW_COUNT;
  SELECT jsonb_agg(jsonb_build_object('id', p.id, 'problem', p.problem)) INTO refused
    FROM studio.ledger_problems(entries, base) p;
  IF refused IS NOT NULL THEN
    RAISE EXCEPTION 'the ledger refuses % entries', jsonb_array_length(refused)
      USING ERRCODE = 'ST002', DETAIL = refused::text;
  END IF;
  UPDATE studio.score_counter SET last_seq = base + added WHERE added > 0;
  RETURN QUERY
    SELECT l.entry_id, l.seq FROM studio.ledger l
     WHERE l.entry_id IN (SELECT (value->>'id')::uuid FROM jsonb_array_elements(entries));
END $$;
`;

export class Initial1763800000001 implements MigrationInterface {
  readonly name = 'Initial1763800000001';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  /** Going back from the first schema means dropping the database; later migrations expand, then contract. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP SCHEMA studio CASCADE; CREATE SCHEMA studio');
  }
}
