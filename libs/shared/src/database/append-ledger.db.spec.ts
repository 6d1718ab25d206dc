import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';
import { DEFAULT_POLICY } from '../domain/policy';
import { createDatabase, type TestDatabase } from '../testing/postgres';

const REFUSED = 'ST002';

interface Entry {
  id: string;
  type: 'award' | 'reversal' | 'restoration';
  hotkey: string;
  kind: string;
  jobId: string;
  epoch: number;
  points: string;
  reason: string;
  policyVersion: number;
}

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createDatabase();
  const owner = new Client({ connectionString: database.urls.owner });
  await owner.connect();
  await owner.query('INSERT INTO studio.policies (version, body) VALUES (1, $1)', [JSON.stringify(DEFAULT_POLICY)]);
  await owner.query(
    `INSERT INTO studio.epochs (epoch, state, policy_version, commitment)
     VALUES (1, 'closed', 1, 'c1'), (2, 'closing', 1, 'c2'), (3, 'open', 1, 'c3')`,
  );
  await owner.end();
  pool = new Pool({ connectionString: database.urls.registry, max: 8 });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

function award(fields: Partial<Entry> = {}): Entry {
  return {
    id: randomUUID(),
    type: 'award',
    hotkey: 'miner-a',
    kind: 'lora-training',
    jobId: randomUUID(),
    epoch: 3,
    points: '700000',
    reason: 'completed and valid',
    policyVersion: 1,
    ...fields,
  };
}

const reversalOf = (entry: Entry, fields: Partial<Entry> = {}): Entry => ({
  ...entry,
  id: randomUUID(),
  type: 'reversal',
  points: String(-Number(entry.points)),
  ...fields,
});

const restorationOf = (reversal: Entry, fields: Partial<Entry> = {}): Entry => ({
  ...reversal,
  id: randomUUID(),
  type: 'restoration',
  points: String(-Number(reversal.points)),
  ...fields,
});

async function append(...entries: Entry[]): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ entry_id: string; seq: string }>('SELECT * FROM studio.append_ledger($1)', [
    JSON.stringify(entries),
  ]);
  return new Map(rows.map(({ entry_id, seq }) => [entry_id, Number(seq)]));
}

const lastSeq = async (): Promise<number> =>
  Number((await pool.query('SELECT last_seq FROM studio.score_counter')).rows[0].last_seq);

/** What the ledger says about the first refused entry. */
async function problemOf(...entries: Entry[]): Promise<string> {
  const before = await lastSeq();
  const error = await append(...entries).catch((failure: { code: string; detail: string }) => failure);
  expect(error).toMatchObject({ code: REFUSED });
  expect(await lastSeq()).toBe(before);
  return JSON.parse((error as { detail: string }).detail)[0].problem;
}

it('numbers stay without a gap under eight writers who also repeat each other', async () => {
  const first = await lastSeq();
  const shared = Array.from({ length: 40 }, () => award());
  const writer = async (): Promise<void> => {
    for (let batch = 0; batch < 10; batch += 1) {
      const own = [award(), award(), award()];
      await append(...own, ...shared.slice(batch * 4, batch * 4 + 4));
      await append(...own);
    }
  };
  await Promise.all(Array.from({ length: 8 }, writer));
  const { rows } = await pool.query('SELECT seq::int FROM studio.ledger WHERE seq > $1 ORDER BY seq', [first]);
  expect(rows.map(({ seq }) => seq - first)).toEqual(Array.from({ length: 8 * 30 + 40 }, (_, i) => i + 1));
  expect(await lastSeq()).toBe(first + 280);
});

it('an entry that is there already keeps its number and takes no new one', async () => {
  const entry = award();
  const number = (await append(entry)).get(entry.id);
  const later = award();
  const again = await append(entry, later);
  expect(again.get(entry.id)).toBe(number);
  expect(again.get(later.id)).toBe(number! + 1);
});

it('a number once visible is never followed by a lower one that appears later', async () => {
  const slow = await pool.connect();
  await slow.query('BEGIN');
  await slow.query('SELECT * FROM studio.append_ledger($1)', [JSON.stringify([award()])]);
  const before = await lastSeq();
  const next = append(award());
  expect(await lastSeq()).toBe(before);
  await slow.query('COMMIT');
  slow.release();
  expect([...(await next).values()]).toEqual([before + 2]);
});

it('a reversal takes back exactly an earlier award, in the same batch too', async () => {
  const entry = award();
  await append(entry, reversalOf(entry));
  const rule = 'no earlier award';
  const other = award();
  await append(other);
  expect(await problemOf(reversalOf(other, { points: '-1' }))).toContain(rule);
  expect(await problemOf(reversalOf(other, { hotkey: 'miner-b' }))).toContain(rule);
  expect(await problemOf(reversalOf(other, { kind: 'lora-inference' }))).toContain(rule);
  expect(await problemOf(reversalOf(other, { epoch: 2 }))).toContain(rule);
  expect(await problemOf(reversalOf(award()))).toContain(rule);
  const late = award();
  expect(await problemOf(reversalOf(late), late)).toContain(rule);
});

it('a restoration gives back exactly what an earlier reversal took, in the same batch too', async () => {
  const entry = award();
  const reversal = reversalOf(entry);
  await append(entry, reversal, restorationOf(reversal));
  const rule = 'no earlier reversal';
  const other = award();
  const taken = reversalOf(other);
  await append(other);
  expect(await problemOf(restorationOf(taken))).toContain(rule);
  await append(taken);
  expect(await problemOf(restorationOf(taken, { points: '1' }))).toContain(rule);
  expect(await problemOf(restorationOf(taken, { hotkey: 'miner-b' }))).toContain(rule);
  expect(await problemOf(restorationOf(taken, { kind: 'lora-inference' }))).toContain(rule);
  expect(await problemOf(restorationOf(taken, { epoch: 2 }))).toContain(rule);
  const late = award();
  expect(await problemOf(late, restorationOf(reversalOf(late)), reversalOf(late))).toContain(rule);
  await append(restorationOf(taken));
});

it('a restoration that would take points is refused by the table itself', async () => {
  const entry = award();
  await append(entry, reversalOf(entry));
  await expect(append(restorationOf(reversalOf(entry), { points: '-700000' }))).rejects.toMatchObject({
    code: '23514',
  });
});

it('reversals and restorations come whenever they come: into a closed epoch too', async () => {
  const entry = award({ epoch: 2 });
  await append(entry);
  const owner = new Client({ connectionString: database.urls.owner });
  await owner.connect();
  await owner.query(`UPDATE studio.epochs SET state = 'closed' WHERE epoch = 2`);
  const reversal = reversalOf(entry);
  await append(reversal);
  await append(restorationOf(reversal));
  expect(await problemOf(award({ epoch: 2 }))).toContain('closed');
  await owner.query(`UPDATE studio.epochs SET state = 'closing' WHERE epoch = 2`);
  await owner.end();
});

it('a job has one award, one reversal and one restoration at most', async () => {
  const entry = award();
  const reversal = reversalOf(entry);
  await append(entry, reversal, restorationOf(reversal));
  expect(await problemOf(award({ jobId: entry.jobId }))).toContain('already has an entry of type award');
  expect(await problemOf(reversalOf(entry))).toContain('already has an entry of type reversal');
  expect(await problemOf(restorationOf(reversal))).toContain('already has an entry of type restoration');
});

it('an id with other content is refused', async () => {
  const entry = award();
  await append(entry);
  expect(await problemOf({ ...entry, points: '1' })).toContain('other content');
});

it('awards join open and closing epochs only; what is there already is repeated even later', async () => {
  await append(award({ epoch: 2 }));
  expect(await problemOf(award({ epoch: 1 }))).toBe('epoch 1 is closed or was never opened');
  expect(await problemOf(award({ epoch: 4 }))).toBe('epoch 4 is closed or was never opened');
});

it('one bad entry refuses its whole batch and is named', async () => {
  const good = award();
  const bad = award({ epoch: 1 });
  const error = await append(good, bad).catch((failure: { detail: string }) => failure);
  expect(JSON.parse((error as { detail: string }).detail)).toEqual([{ id: bad.id, problem: expect.any(String) }]);
  expect((await pool.query('SELECT 1 FROM studio.ledger WHERE entry_id = $1', [good.id])).rowCount).toBe(0);
});
