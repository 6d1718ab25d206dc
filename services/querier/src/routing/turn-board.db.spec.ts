import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { createDataSource } from '@studio/shared/database/data-source';
import { chooseMiner } from '@studio/shared/domain/dispatch-policy';
import { gini } from '@studio/shared/domain/fairness';
import { DEFAULT_POLICY, type RoutingPolicy } from '@studio/shared/domain/policy';
import { connectRedis } from '@studio/shared/platform/redis';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import type { Redis } from 'ioredis';
import type { DataSource } from 'typeorm';
import { FallbackLanes } from './fallback-lanes';
import { HoldSweeper } from './hold-sweeper';
import type { Offer } from './miner-directory';
import { RedisLanes } from './redis-lanes';
import { TurnBoard } from './turn-board';
import { TurnStore } from './turn.store';
import type { SlotHold } from './turns';

const LANE = { kind: 'lora-inference', engine: 'ref-sep-v1' } as const;
const NAME = 'lora-inference|ref-sep-v1';
const NOBODY = { tried: new Set<string>(), excludeOperators: new Set<string>() };
const MINUTE_MS = 60_000;
const quiet = { warn: () => undefined, info: () => undefined, error: () => undefined };

let database: TestDatabase;
let redis: TestRedis;
let db: DataSource;
let nowMs = 1_800_000_000_000;
let policy: RoutingPolicy;
let offers: Offer[] = [];
let closers: (() => unknown)[] = [];

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), openTestRedis()]);
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 4 }).initialize();
});

beforeEach(async () => {
  await redis.clear();
  await db.query(`UPDATE studio.attempts SET state = 'superseded' WHERE state = 'open'`);
  await db.query('UPDATE studio.miner_slots SET proven = 4');
  policy = { ...DEFAULT_POLICY.routing, rampStart: 4, exploreAfterMs: Infinity };
});

afterEach(async () => {
  for (const close of closers) await close();
  closers = [];
});

afterAll(async () => {
  await db?.destroy();
  await redis?.close();
  await database?.drop();
});

function miners(count: number, slots: number): void {
  offers = Array.from({ length: count }, (_, i) => {
    const hotkey = `m${i}`;
    return { miner: { hotkey, operator: `op-${hotkey}`, trusted: false } as RoutableMiner, slots };
  });
}

interface Worker {
  board: TurnBoard;
  sweeper: HoldSweeper;
  store: FallbackLanes;
  connection: Redis;
  log: { warn: jest.Mock; info: jest.Mock; error: jest.Mock };
}

/** A worker process's turns: a Redis connection and copies of its own. */
function worker(url = redis.url): Worker {
  const log = { warn: jest.fn(), info: jest.fn(), error: jest.fn() };
  const connection = connectRedis(url, 'turns', quiet, { batching: true });
  closers.push(() => connection.disconnect());
  const rows = new TurnStore(db);
  const clock = (): number => nowMs;
  // Each call tries Redis again: the pause between two tries is not what is tested.
  const store = new FallbackLanes(new RedisLanes(connection), log, undefined, () => (ticks += MINUTE_MS));
  const directory = { every: (kind: string, engine: string) => (`${kind}|${engine}` === NAME ? offers : []) };
  const board = new TurnBoard({ store, rows, directory, policy: () => policy, log, clock });
  return { board, store, connection, log, sweeper: new HoldSweeper({ board, store, rows, log, clock }) };
}
let ticks = 0;

/** A turn for a new job, as a job's run takes it; undefined when nobody has a free slot. */
async function turn({ board }: Pick<Worker, 'board'>, lora: string | null = null): Promise<SlotHold | undefined> {
  const jobId = randomUUID();
  for (;;) {
    const chosen = chooseMiner(board.candidates(offers, LANE, lora), NOBODY, nowMs, policy);
    if (!chosen) return undefined;
    const hold = { ...LANE, hotkey: chosen.hotkey, jobId, attemptNo: 1 };
    if (await board.reserve(chosen, hold, MINUTE_MS)) return hold;
  }
}

async function turns(of: Worker, count: number): Promise<SlotHold[]> {
  const taken = [];
  for (let i = 0; i < count; i += 1) taken.push((await turn(of))!);
  return taken;
}

async function storeAttempt({ hotkey, jobId }: SlotHold): Promise<void> {
  await db.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, timeout_ms, deadline_at, attempt_no)
     VALUES ($1, $1, '', $2, $3, '{}', 60000, studio.now() + interval '1 hour', 1)`,
    [jobId, LANE.kind, LANE.engine],
  );
  await db.query(
    `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, lease_no, callback_hash)
     VALUES ($1, 1, $2, $2, $3, $4, 1, '')`,
    [jobId, hotkey, LANE.kind, LANE.engine],
  );
}

const closeAttempt = ({ jobId }: SlotHold): Promise<unknown> =>
  db.query(`UPDATE studio.attempts SET state = 'failed', finished_at = studio.now() WHERE job_id = $1`, [jobId]);

async function settle({ board }: Worker, hold: SlotHold, end: Parameters<TurnBoard['settle']>[1]): Promise<void> {
  board.settle(hold, end);
  await board.drain();
}

const held = async (): Promise<string[]> =>
  (await redis.client.zrange(`turns:{${NAME}}:holds`, 0, -1)).filter((member) => member.includes('|')).sort();
const stored = (hotkey: string): Promise<string | null> => redis.client.hget(`turns:{${NAME}}`, `m:${hotkey}`);
const freeSlots = ({ board }: Worker): number => board.room().get(NAME) ?? 0;

describe('turns shared by several workers', () => {
  it('are fair, and never more at a miner than it has slots, while four workers take 2,000 at once', async () => {
    miners(20, 4);
    const [live, total] = [new Map<string, number>(), new Map<string, number>()];
    let most = 0;
    const count = (of: Map<string, number>, hotkey: string, by: number): number => {
      of.set(hotkey, (of.get(hotkey) ?? 0) + by);
      return of.get(hotkey)!;
    };
    const end = (of: Worker, hold: SlotHold): Promise<void> => {
      count(live, hold.hotkey, -1);
      return settle(of, hold, 'success');
    };
    const runJobs = async (of: Worker, jobs: number): Promise<void> => {
      const open: SlotHold[] = [];
      for (let done = 0; done < jobs;) {
        const hold = await turn(of);
        if (hold) {
          most = Math.max(most, count(live, hold.hotkey, 1));
          count(total, hold.hotkey, 1);
          open.push(hold);
          done += 1;
        }
        if (hold && open.length < 4) continue;
        const oldest = open.shift();
        if (oldest) await end(of, oldest);
        if (!hold) await of.board.refresh(0);
      }
      for (const hold of open) await end(of, hold);
    };
    const workers = [worker(), worker(), worker(), worker()];
    await Promise.all(workers.flatMap((of) => Array.from({ length: 5 }, () => runJobs(of, 100))));
    expect([...total.values()].reduce((sum, jobs) => sum + jobs, 0)).toBe(2_000);
    expect(most).toBeLessThanOrEqual(4);
    expect(gini([...total.values()])).toBeLessThan(0.05);
  });

  it('go past a miner that is full at another worker', async () => {
    miners(2, 1);
    const [one, other] = [worker(), worker()];
    await Promise.all([one.board.refresh(0), other.board.refresh(0)]);
    const holds = [await turn(one), await turn(other), await turn(one), await turn(other)];
    expect(holds.map((hold) => hold?.hotkey)).toEqual(['m0', 'm1', undefined, undefined]);
  });

  it('are counted once each, however old the copies are that they were taken on', async () => {
    miners(1, 4);
    const workers = [worker(), worker()];
    for (let i = 0; i < 4; i += 1) expect(await turn(workers[i % 2]!)).toBeDefined();
    expect((await stored('m0'))!.split('|').slice(0, 2)).toEqual([expect.any(String), '1000000']);
  });

  it('do not go to a slot that was taken without a turn', async () => {
    miners(1, 1);
    const [one, other] = [worker(), worker()];
    const hold = (await turn(one))!;
    await settle(one, hold, 'released');
    expect(freeSlots(one)).toBe(1);
    await storeAttempt(hold);
    for (let look = 0; look < 2; look += 1) await other.sweeper.sweep();
    expect(await held()).toHaveLength(1);
    expect(await turn(one)).toBeUndefined();
  });

  it('are settled by any process, and once', async () => {
    miners(1, 8);
    const [one, api] = [worker(), worker()];
    const holds = await turns(one, 4);
    await settle(api, holds[3]!, 'success');
    expect(await held()).toHaveLength(3);
    const learned = await stored('m0');
    expect(learned!.split('|')[3]).toBe('5');
    await settle(api, holds[3]!, 'failed');
    await settle(one, { ...holds[3]!, jobId: randomUUID() }, 'failed');
    expect([await held(), await stored('m0')]).toEqual([expect.any(Array), learned]);
    expect(await held()).toHaveLength(3);
    await one.board.refresh(0);
    expect(freeSlots(one)).toBe(2);
  });

  it('are free again when the hold of a dead worker runs out', async () => {
    miners(1, 4);
    await turns(worker(), 4);
    const other = worker();
    await other.board.refresh(0);
    expect(Object.fromEntries(other.board.room())).toEqual({ [`${NAME}|m0`]: 0, [NAME]: 0 });
    nowMs += MINUTE_MS;
    await other.board.refresh(0);
    expect(Object.fromEntries(other.board.room())).toEqual({ [`${NAME}|m0`]: 4, [NAME]: 4 });
  });

  it.each([
    ['unreachable', 4],
    ['failed', 2],
    ['late', 2],
  ] as const)(
    'leave a miner alone that was %s several times in a row, and then let exactly one job through as a probe',
    async (end, left) => {
      miners(1, 4);
      policy = { ...policy, breakerFailures: 3, breakerOpenMs: MINUTE_MS };
      const workers = [worker(), worker(), worker(), worker()];
      for (let failure = 0; failure < 3; failure += 1) await settle(workers[0]!, (await turn(workers[0]!))!, end);
      const tryAll = async (): Promise<SlotHold[]> => {
        await Promise.all(workers.map(({ board }) => board.refresh(0)));
        return (await Promise.all(workers.map((of) => turn(of)))).filter((hold) => hold !== undefined);
      };
      expect(await tryAll()).toEqual([]);
      nowMs += MINUTE_MS;
      const [probe, ...others] = await tryAll();
      expect([probe?.hotkey, others]).toEqual(['m0', []]);
      await settle(workers[3]!, probe!, 'success');
      expect(await tryAll()).toHaveLength(left);
    },
  );

  it('let a slot rest whose turn brought nothing, for every worker and as long as is said, but not a reference’s', async () => {
    miners(2, 1);
    offers[1]!.miner.trusted = true;
    const [one, other] = [worker(), worker()];
    const rest = async (offer: Offer): Promise<boolean> => {
      const lane = { ...LANE, hotkey: offer.miner.hotkey, jobId: randomUUID(), attemptNo: 1 };
      const take = () => one.board.reserve(one.board.candidates([offer], LANE, null)[0]!, lane, MINUTE_MS);
      while (!(await take()));
      one.board.settle(lane, 'busy', { restMs: 10_000 });
      await one.board.drain();
      await other.board.refresh(0);
      return [one, other].every(({ board }) => board.candidates([offer], LANE, null)[0]!.freeSlots === 0);
    };
    expect([await rest(offers[0]!), await rest(offers[1]!)]).toEqual([true, false]);
    // It belongs to no attempt, and is not taken for one that is over.
    for (let look = 0; look < 2; look += 1) await other.sweeper.sweep();
    await other.board.refresh(0);
    expect(freeSlots(other)).toBe(0);
    nowMs += 10_000;
    await other.board.refresh(0);
    expect(freeSlots(other)).toBe(1);
  });

  it('prove no further slot by a slow success, unless nobody in the lane has a free one', async () => {
    miners(2, 8);
    const one = worker();
    const proven = async (hotkey: string): Promise<string> => (await stored(hotkey))!.split('|')[3]!;
    const all = await turns(one, 8);
    const last = (hotkey: string): SlotHold => all.filter((hold) => hold.hotkey === hotkey).at(-1)!;
    one.board.settle(last('m0'), 'success', { isSlow: true });
    await one.board.drain();
    expect(await proven('m0')).toBe('5');
    one.board.settle(last('m1'), 'success', { isSlow: true });
    await one.board.drain();
    expect(await proven('m1')).toBe('4');
  });

  it('prefer the holders of a LoRA that another worker found', async () => {
    miners(3, 4);
    const [one, other] = [worker(), worker()];
    one.board.holds('m2', 'sha');
    await one.board.drain();
    await other.board.learnHolders('sha');
    expect((await turn(other, 'sha'))?.hotkey).toBe('m2');
  });
});

describe('turns whose Redis fails', () => {
  it('are counted again from the attempts under way when Redis was emptied', async () => {
    miners(2, 4);
    await db.query(
      `INSERT INTO studio.miner_slots (hotkey, kind, engine, proven) VALUES ('m1', $1, $2, 3)
       ON CONFLICT (hotkey, kind, engine) DO UPDATE SET proven = 3`,
      [LANE.kind, LANE.engine],
    );
    const [one, other] = [worker(), worker()];
    for (const hold of [...(await turns(one, 3)), ...(await turns(other, 2))]) await storeAttempt(hold);
    const before = await held();
    await redis.clear();
    const late = worker();
    const more = await Promise.all([turn(one), turn(other), turn(late), turn(one), turn(other)]);
    expect(more.filter((hold) => hold)).toHaveLength(2);
    const after = await held();
    expect(before.map(nameOf).every((name) => after.map(nameOf).includes(name))).toBe(true);
    const perMiner = ['m0', 'm1'].map((hotkey) => after.filter((member) => member.startsWith(`${hotkey}|`)).length);
    expect(perMiner).toEqual([4, 3]);
  });

  it('keep a reservation that is not a row yet, as its own worker remembers it', async () => {
    miners(1, 4);
    const [one, other] = [worker(), worker()];
    const hold = (await turn(one))!;
    await redis.clear();
    await turn(other);
    await one.board.refresh(0);
    expect((await held()).map(nameOf)).toContain(`m0|${hold.jobId}:1`);
  });

  it('go on alone while Redis is away, are told of once, and are shared again afterwards', async () => {
    miners(2, 2);
    policy = { ...policy, rampStart: 2 };
    const line = await breakableLine(redis.url);
    closers.push(() => line.close());
    const one = worker(line.url);
    for (const hold of await turns(one, 1)) await storeAttempt(hold);
    await line.cut();
    const alone = [await turn(one), await turn(one), await turn(one), await turn(one)];
    expect(alone.map((hold) => hold !== undefined)).toEqual([true, true, true, false]);
    expect(one.log.warn).toHaveBeenCalledTimes(1);
    for (const hold of alone) if (hold) await storeAttempt(hold);
    const back = once(one.connection, 'ready');
    await line.mend();
    await back;
    await one.board.refresh(0);
    expect(one.log.info).toHaveBeenCalledTimes(1);
    await one.board.refresh(0);
    expect(await held()).toHaveLength(4);
    expect(freeSlots(one)).toBe(0);
  });
});

describe('holds compared with Postgres', () => {
  it('are freed when their attempts have ended, and added when they are missing, on the second look', async () => {
    miners(2, 4);
    const one = worker();
    const [open, dead] = (await turns(one, 2)) as [SlotHold, SlotHold];
    const missing = { ...open, jobId: randomUUID() };
    for (const hold of [open, dead, missing]) await storeAttempt(hold);
    await closeAttempt(dead);
    const before = await held();
    await one.sweeper.sweep();
    expect(await held()).toEqual(before);
    await one.sweeper.sweep();
    expect((await held()).map(nameOf).sort()).toEqual(
      [open, missing].map(({ hotkey, jobId }) => `${hotkey}|${jobId}:1`).sort(),
    );
  });

  it('come with the proven slots, which are written down as they change', async () => {
    miners(1, 9);
    const one = worker();
    const proven = async (): Promise<unknown> => {
      await one.sweeper.sweep();
      const rows = await db.query<{ proven: number }[]>(`SELECT proven FROM studio.miner_slots WHERE hotkey = 'm0'`);
      return rows[0]?.proven;
    };
    const holds = await turns(one, 4);
    expect(await proven()).toBe(4);
    await settle(one, holds[3]!, 'success');
    expect(await proven()).toBe(5);
  });
});

function nameOf(member: string): string {
  return member.split('|').slice(0, 2).join('|');
}

/** A TCP line to the server that can be cut and mended. */
async function breakableLine(target: string) {
  const { hostname, port, pathname } = new URL(target);
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  const listen = (at: number): Promise<unknown> => once(server.listen(at, '127.0.0.1'), 'listening');
  const cut = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  await listen(0);
  const { port: own } = server.address() as AddressInfo;
  return { url: `redis://127.0.0.1:${own}${pathname}`, cut, mend: () => listen(own), close: cut };
}
