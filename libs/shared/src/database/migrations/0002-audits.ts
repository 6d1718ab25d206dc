import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Audits that can be checked and corrected: what each draw was decided from, second rounds (appeals), corrections of
 * verdicts and the ledger entries that follow, canaries, private jobs, and the walk over delivered pictures.
 * Verdicts, quarantines and ledger entries are never changed: what no longer stands is said in a row of its own.
 */
const UP = String.raw`
-- Peers may not replay it: only a reference may see the input again.
ALTER TABLE studio.jobs ADD COLUMN private boolean NOT NULL DEFAULT false;

-- What q was decided from: {jobsSeen, audits, passes, cusum} of the (miner, kind) before this job. Null where q is.
ALTER TABLE studio.draws ADD COLUMN record jsonb;
CREATE INDEX draws_taken ON studio.draws (taken_at, job_id);
CREATE INDEX draws_of_epoch ON studio.draws (epoch, job_id);

-- Round 2 is an appeal: the same job, replayed anew.
ALTER TABLE studio.audits ADD COLUMN round integer NOT NULL DEFAULT 1 CHECK (round IN (1, 2));
ALTER TABLE studio.audits DROP CONSTRAINT audits_job_id_key;
ALTER TABLE studio.audits ADD CONSTRAINT audits_job_round_key UNIQUE (job_id, round);
ALTER TABLE studio.audits DROP CONSTRAINT audits_why_check;
ALTER TABLE studio.audits ADD CONSTRAINT audits_why_check
  CHECK (why IN ('draw', 'floor', 'copy', 'replica', 'canary', 'appeal'));
ALTER TABLE studio.verdicts DROP CONSTRAINT verdicts_job_id_key;
CREATE INDEX verdicts_of_job ON studio.verdicts (job_id);
CREATE INDEX verdicts_of_miner ON studio.verdicts (hotkey, decided_at);

-- What the picture walk (copies of other inputs' pictures) has looked at: every draw up to this one.
CREATE TABLE studio.picture_walk (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  taken_at timestamptz NOT NULL,
  job_id   uuid NOT NULL
);

-- Which photograph a LoRA was trained on: asked when two LoRAs' pictures look alike.
CREATE INDEX adapters_of_lora ON studio.adapters (lora_sha256, taken_at);

-- Jobs of our own, made so that every miner is measured. Only the auditor knows which they are.
CREATE TABLE studio.canaries (
  id          uuid PRIMARY KEY,
  -- Whose floor it fills in which epoch; routing may still give it to another.
  epoch       integer NOT NULL,
  hotkey      text NOT NULL,
  kind        text NOT NULL,
  engine      text NOT NULL,
  -- planned: not asked for yet; answering: a reference has it first; answered: its result is there, the miner's turn is
  -- due_at; submitted: the miner's job exists; ended.
  state       text NOT NULL DEFAULT 'planned'
    CHECK (state IN ('planned', 'answering', 'answered', 'submitted', 'ended')),
  due_at      timestamptz NOT NULL,
  -- What is asked for, in a client's words: made when it is due, and forgotten once the miner's job exists.
  request     jsonb,
  -- Hash of the derived photograph, or of LoRA, prompt and seed: none is ever made twice.
  print       text UNIQUE,
  -- Idempotency key of the miner's job, and the job.
  request_key uuid NOT NULL UNIQUE,
  job_id      uuid UNIQUE,
  -- The reference that is asked for the answer; null where none is, or it gave none. Its key and job.
  reference   text,
  answer_key  uuid NOT NULL UNIQUE,
  answer_job  uuid UNIQUE,
  -- done: by the miner it was meant for; asked: that miner had its turn and did not do it; elsewhere: it could not be
  -- asked; refused: the querier would not take it.
  outcome     text CHECK (outcome IN ('done', 'asked', 'elsewhere', 'refused')),
  refusal     text,
  created_at  timestamptz NOT NULL DEFAULT studio.now(),
  CHECK ((state = 'ended') = (outcome IS NOT NULL))
);
CREATE INDEX canaries_of_epoch ON studio.canaries (epoch, hotkey, kind, engine);
CREATE INDEX canaries_open ON studio.canaries (due_at) WHERE state <> 'ended';
CREATE INDEX canaries_lora ON studio.canaries (engine, created_at) WHERE kind = 'lora-training';

-- Up to when canaries are planned: replicas take turns.
CREATE TABLE studio.canary_plan (
  one           boolean PRIMARY KEY DEFAULT true CHECK (one),
  planned_until timestamptz NOT NULL
);

-- A miner's word against an invalid verdict: the audit is done again.
CREATE TABLE studio.appeals (
  job_id   uuid PRIMARY KEY,
  hotkey   text NOT NULL,
  reason   text NOT NULL,
  filed_at timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX appeals_of_miner ON studio.appeals (hotkey, filed_at);

-- An operator's word that verdicts reached with a reference (null: with any) in an interval are worth nothing.
CREATE TABLE studio.amnesties (
  id         uuid PRIMARY KEY,
  reference  text,
  from_at    timestamptz NOT NULL,
  until_at   timestamptz NOT NULL CHECK (until_at > from_at),
  reason     text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);

-- Invalid verdicts that no longer stand, one row per job, and quarantines that fell with them.
CREATE TABLE studio.corrections (
  job_id     uuid PRIMARY KEY,
  audit_id   uuid NOT NULL REFERENCES studio.audits (id),
  hotkey     text NOT NULL,
  kind       text NOT NULL,
  cause      text NOT NULL CHECK (cause IN ('appeal', 'amnesty')),
  -- The appeal's audit, or the amnesty.
  cause_id   uuid NOT NULL,
  reason     text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT studio.now()
);
CREATE INDEX corrections_of_miner ON studio.corrections (hotkey);
CREATE TABLE studio.quarantine_lifts (
  quarantine_id uuid PRIMARY KEY REFERENCES studio.quarantines (id),
  cause         text NOT NULL CHECK (cause IN ('appeal', 'amnesty')),
  cause_id      uuid NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT studio.now()
);
CREATE VIEW studio.standing_quarantines AS
  SELECT q.* FROM studio.quarantines q
   WHERE NOT EXISTS (SELECT 1 FROM studio.quarantine_lifts l WHERE l.quarantine_id = q.id);

-- Of a reversal: the job whose invalid verdict brought it (its own or a neighbour's); null for quarantine.
ALTER TABLE studio.ledger_outbox ADD COLUMN conviction uuid;
CREATE INDEX ledger_outbox_conviction ON studio.ledger_outbox (conviction) WHERE conviction IS NOT NULL;

-- A restoration gives back what a reversal took.
ALTER TABLE studio.ledger DROP CONSTRAINT ledger_type_check;
ALTER TABLE studio.ledger ADD CONSTRAINT ledger_type_check CHECK (type IN ('award', 'reversal', 'restoration'));
ALTER TABLE studio.ledger DROP CONSTRAINT ledger_check;
ALTER TABLE studio.ledger ADD CONSTRAINT ledger_check
  CHECK ((type IN ('award', 'restoration') AND points >= 0) OR (type = 'reversal' AND points <= 0));

CREATE OR REPLACE FUNCTION studio.ledger_problems(entries jsonb, base bigint)
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
             WHEN l.type = 'restoration' AND NOT EXISTS (
                    SELECT 1 FROM studio.ledger a
                     WHERE a.job_id = l.job_id AND a.type = 'reversal' AND a.hotkey = l.hotkey AND a.kind = l.kind
                       AND a.epoch = l.epoch AND a.points = -l.points AND a.seq < l.seq)
               THEN 'no earlier reversal of the same job, hotkey, kind and epoch took exactly these points'
           END AS problem
      FROM jsonb_array_elements(entries) AS t(value)
      LEFT JOIN studio.ledger l ON l.entry_id = (t.value->>'id')::uuid
  ) checked
  WHERE problem IS NOT NULL
$$;
`;

export class Audits1795600000002 implements MigrationInterface {
  readonly name = 'Audits1795600000002';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  /** Second rounds and corrections have no place in the schema before: going back means restoring a backup. */
  down(): Promise<void> {
    return Promise.reject(new Error('this migration is not undone: restore the backup taken before it'));
  }
}
