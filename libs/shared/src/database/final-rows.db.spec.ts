import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../testing/postgres';

const FINAL = 'ST001';
const TERMINAL = ['succeeded', 'failed', 'cancelled', 'expired'];

let database: TestDatabase;
let owner: Client;

beforeAll(async () => {
  database = await createDatabase();
  owner = new Client({ connectionString: database.urls.owner });
  await owner.connect();
});

afterAll(async () => {
  await owner.end();
  await database.drop();
});

async function insertJob(state: string): Promise<string> {
  const id = randomUUID();
  await owner.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, state, timeout_ms, deadline_at, result, finished_at)
     VALUES ($1, $1, '\\x00', 'lora-training', 'ref-sep-v1', '{}', $2, 1000, studio.now(), $3, $4)`,
    [id, state, state === 'succeeded' ? '{}' : null, TERMINAL.includes(state) ? new Date() : null],
  );
  return id;
}

async function insertAttempt(jobId: string, attemptNo: number, state: string): Promise<void> {
  await owner.query(
    `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, state, lease_no, callback_hash)
     VALUES ($1, $2, 'miner', 'operator', 'lora-training', 'ref-sep-v1', $3, 1, '\\x00')`,
    [jobId, attemptNo, state],
  );
}

it.each(TERMINAL)('a job that is %s cannot change any more, whoever writes', async (state) => {
  const id = await insertJob(state);
  const bystander = await insertJob('queued');
  const change = owner.query(`UPDATE studio.jobs SET worker = 'late' WHERE id = $1`, [id]);
  await expect(change).rejects.toMatchObject({ code: FINAL });
  await owner.query(`UPDATE studio.jobs SET worker = 'in time' WHERE id = $1`, [bystander]);
});

it('a closed attempt cannot change any more, an open one can', async () => {
  const job = await insertJob('running');
  await insertAttempt(job, 1, 'failed');
  await insertAttempt(job, 2, 'open');
  const accept = (no: number) =>
    owner.query(`UPDATE studio.attempts SET state = 'accepted' WHERE job_id = $1 AND attempt_no = $2`, [job, no]);
  await expect(accept(1)).rejects.toMatchObject({ code: FINAL });
  await accept(2);
});

it('a job has one accepted attempt at most', async () => {
  const job = await insertJob('running');
  await insertAttempt(job, 1, 'accepted');
  await expect(insertAttempt(job, 2, 'accepted')).rejects.toMatchObject({ code: '23505' });
});

it('a job has a result exactly when it succeeded, and an end exactly when it is terminal', async () => {
  const id = await insertJob('running');
  await expect(owner.query(`UPDATE studio.jobs SET result = '{}' WHERE id = $1`, [id])).rejects.toThrow('check');
  await expect(owner.query(`UPDATE studio.jobs SET state = 'failed' WHERE id = $1`, [id])).rejects.toThrow('check');
});
