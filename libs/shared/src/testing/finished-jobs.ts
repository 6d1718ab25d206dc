import { randomBytes, randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { HOUSE_CLIENT_ID } from '../contract/submit-job';
import type {
  Engine,
  ImageRef,
  InferenceInput,
  JobInput,
  JobKind,
  JobResult,
  LoraRef,
  TrainingInput,
} from '../domain/job';
import type { Policy } from '../domain/policy';
import { taskKind } from '../domain/task-kinds';
import type { TestDatabase } from './postgres';

/** A job as the querier leaves it behind. Everything has a default but who did it. */
export interface JobToFinish {
  hotkey: string;
  operator?: string;
  kind?: JobKind;
  engine?: Engine;
  input?: JobInput;
  result?: JobResult;
  netUs?: number | null;
  void?: boolean;
  /** Of a replay: its idempotency key. */
  requestKey?: string;
  state?: 'succeeded' | 'failed';
  private?: boolean;
  /** Seconds before now that it finished. */
  finishedAgoS?: number;
}

const hash = (): string => randomBytes(32).toString('hex');

export function someLora(tensorHash = hash(), sha256 = hash()): LoraRef {
  return { sha256, bytes: 34_000, contentType: 'application/octet-stream', rank: 16, tensorHash };
}

export function someInference(): InferenceInput {
  return { lora: someLora(), prompt: 'a cat', width: 64, height: 64, seed: 7, loraScale: 1, warp: 0.25, numImages: 1 };
}

export function someTraining(pixelHash = hash(), sha256 = hash()): TrainingInput {
  const image = { sha256, bytes: 9_000, contentType: 'image/png', width: 64, height: 64, pixelHash };
  return { image, resolution: 64, steps: 300, rank: 16, seed: 7 };
}

export function imageResult(pixelHash: string): JobResult {
  return { images: [{ sha256: hash(), bytes: 9_000, contentType: 'image/png', width: 64, height: 64, pixelHash }] };
}

/** Rows that the other services would write, each under the role that may. */
export class FinishedJobs {
  private readonly querier: Pool;
  private readonly registry: Pool;

  constructor({ urls }: TestDatabase) {
    this.querier = new Pool({ connectionString: urls.querier, max: 3 });
    this.registry = new Pool({ connectionString: urls.registry, max: 2 });
    // A pool is "ended" before its sockets are closed: dropping the database then still reaches one, now and then.
    for (const pool of [this.querier, this.registry]) pool.on('error', () => undefined);
  }

  async close(): Promise<void> {
    await Promise.all([this.querier.end(), this.registry.end()]);
  }

  async policy(policy: Policy): Promise<void> {
    await this.registry.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [policy.version, policy]);
  }

  async openEpoch(epoch: number, policy: Policy): Promise<void> {
    await this.registry.query(
      `INSERT INTO studio.epochs (epoch, policy_version, commitment)
       SELECT $1, $2, commitment FROM studio.draw_commitments WHERE epoch = $1`,
      [epoch, policy.version],
    );
  }

  /** Moves the epoch to closing and opens the next. `agoMs`: since when it has been closing. */
  async closeEpoch(epoch: number, policy: Policy, agoMs = 0): Promise<void> {
    await this.registry.query(
      `UPDATE studio.epochs SET state = 'closing', closing_at = studio.now() - $2 * interval '1 millisecond'
        WHERE epoch = $1`,
      [epoch, agoMs],
    );
    await this.openEpoch(epoch + 1, policy);
  }

  async snapshotTaken(epoch: number): Promise<void> {
    await this.registry.query(`UPDATE studio.epochs SET state = 'closed', closed_at = studio.now() WHERE epoch = $1`, [
      epoch,
    ]);
  }

  /** A registered miner that offers both kinds. */
  async miner(hotkey: string, { operator = hotkey, trusted = false, engine = 'ref-sep-v1' } = {}): Promise<void> {
    const offers = (['lora-training', 'lora-inference'] as const).map((kind) => ({ kind, engine, slots: 4 }));
    await this.registry.query(
      `INSERT INTO studio.miners (hotkey, operator, endpoint, dialect, offers, trusted)
       VALUES ($1, $2, $3, 'native', $4, $5)`,
      [hotkey, operator, `http://${hotkey}.test`, JSON.stringify(offers), trusted],
    );
  }

  /** @returns the job's id. */
  async finish(job: JobToFinish): Promise<string> {
    const { kind = 'lora-inference', engine = 'ref-sep-v1', state = 'succeeded' } = job;
    const input = job.input ?? (kind === 'lora-training' ? someTraining() : someInference());
    const result = job.result ?? (kind === 'lora-training' ? { lora: someLora() } : imageResult(hash()));
    const id = uuidv7();
    const won = state === 'succeeded';
    const timeoutMs = taskKind(kind, engine).timeoutMs(input);
    const client = await this.querier.connect();
    try {
      await client.query('BEGIN');
      await client.query(
        `INSERT INTO studio.jobs (id, client_id, idempotency_key, request_hash, kind, engine, input, state, timeout_ms,
                                  deadline_at, accepted_attempt, result, failure, finished_at, private)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, studio.now() + interval '1 hour', $10, $11, $12,
                 studio.now() - $13 * interval '1 second', $14)`,
        [
          id,
          job.requestKey ? HOUSE_CLIENT_ID : randomUUID(),
          job.requestKey ?? null,
          randomBytes(32),
          kind,
          engine,
          input,
          state,
          timeoutMs,
          won ? 1 : null,
          won ? result : null,
          won ? null : { code: 'JOB_FAILED', message: 'the miner gave nothing' },
          job.finishedAgoS ?? 0,
          job.private ?? false,
        ],
      );
      await client.query(
        `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, state, lease_no, callback_hash,
                                      finished_at, net_us, void)
         VALUES ($1, 1, $2, $3, $4, $5, $6, 1, $7, studio.now() - $8 * interval '1 second', $9, $10)`,
        [
          id,
          job.hotkey,
          job.operator ?? job.hotkey,
          kind,
          engine,
          won ? 'accepted' : 'failed',
          randomBytes(32),
          job.finishedAgoS ?? 0,
          job.netUs === undefined ? 1_000_000 : job.netUs,
          job.void ?? false,
        ],
      );
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    } finally {
      client.release();
    }
    return id;
  }

  /** The row of a stored image, with what the checks found out about it. */
  async image({ sha256, bytes, contentType, ...facts }: ImageRef & { dctHash?: string }): Promise<void> {
    await this.querier.query(
      `INSERT INTO studio.artifacts (sha256, bytes, content_type, facts) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
      [sha256, bytes, contentType, facts],
    );
  }

  /** Likewise of a stored LoRA. */
  async lora({ sha256, bytes, contentType, ...facts }: LoraRef, engine: Engine): Promise<void> {
    await this.querier.query(
      `INSERT INTO studio.artifacts (sha256, bytes, content_type, facts) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
      [sha256, bytes, contentType, { ...facts, engine }],
    );
  }

  /** As the registry files it for a miner. */
  async appeal(jobId: string, hotkey: string, reason = 'the reference is wrong'): Promise<void> {
    await this.registry.query('INSERT INTO studio.appeals (job_id, hotkey, reason) VALUES ($1, $2, $3)', [
      jobId,
      hotkey,
      reason,
    ]);
  }

  /** The id of the job with this idempotency key, if there is one. */
  async jobOfRequest(requestKey: string): Promise<string | undefined> {
    const { rows } = await this.querier.query<{ id: string }>(
      'SELECT id FROM studio.jobs WHERE client_id = $1 AND idempotency_key = $2',
      [HOUSE_CLIENT_ID, requestKey],
    );
    return rows[0]?.id;
  }

  /** What the registry does with ledger entries, rules included. @returns entry id → number. */
  async appendLedger(entries: readonly unknown[]): Promise<Record<string, string>> {
    const { rows } = await this.registry.query<{ entry_id: string; seq: string }>(
      'SELECT entry_id, seq FROM studio.append_ledger($1::jsonb)',
      [JSON.stringify(entries)],
    );
    return Object.fromEntries(rows.map((row) => [row.entry_id, row.seq]));
  }
}
