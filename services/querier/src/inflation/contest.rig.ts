/** For specs alone: what miners with tricks get beside honest ones, of the real worker, in turns and in points. */
import { createServer, request as forward, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { DEFAULT_POLICY, type RoutingPolicy } from '@studio/shared/domain/policy';
import { pointsFor } from '@studio/shared/domain/points';
import { taskKind } from '@studio/shared/domain/task-kinds';
import { HEADERS } from '@studio/shared/protocol/signatures';
import { resultForm, type StubMiner } from '@studio/shared/testing/stub-miner';
import Table from 'cli-table3';
import type { WorkerRig } from '../worker.rig';

/** What one miner, or all of one name, came to. */
export interface Takings {
  /** Turns: every attempt, whatever came of it. */
  asked: number;
  accepted: number;
  /** Attempts by what became of them. */
  states: Record<string, number>;
  /** The auditor's formula over the same latencies. */
  points: number;
  /** Bytes that the network credit counted, of the accepted ones. */
  creditedBytes: number[];
}

type NameOf = (hotkey: string) => string;

interface AttemptRow {
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  state: string;
  net_us: string | null;
  credited: number | null;
  timeout_ms: number;
}

/** For the workers that are started from now on. */
export async function setRouting(rig: WorkerRig, changes: Partial<RoutingPolicy>): Promise<void> {
  const routing = JSON.stringify({ ...DEFAULT_POLICY.routing, ...changes });
  await rig.owner.query(`UPDATE studio.policies SET body = jsonb_set(body, '{routing}', $1::jsonb)`, [routing]);
}

/** A correct picture, after as long as the job's T_max says. */
export function worksFor(rig: WorkerRig, ms: (timeoutMs: number) => number): StubMiner['answer'] {
  return async (request) => {
    await sleep(ms(request.timeout_ms));
    return { status: 200, form: resultForm(request, { image_0: rig.image }) };
  };
}

/** Hands in one job after the other, `everyMs` apart, and waits until all have ended. */
export async function runJobs(rig: WorkerRig, timeoutsMs: readonly number[], everyMs = 0): Promise<string[]> {
  const startMs = performance.now();
  const ids: string[] = [];
  for (const timeoutMs of timeoutsMs) {
    ids.push(await rig.addJob({ timeoutMs, deadlineMs: 120_000 }));
    await sleep(Math.max(0, startMs + ids.length * everyMs - performance.now()));
  }
  await Promise.all(ids.map((id) => rig.finished(id)));
  return ids;
}

export async function takings(
  rig: WorkerRig,
  ids: readonly string[],
  nameOf: NameOf,
): Promise<Record<string, Takings>> {
  const rows = await rig.db.query<AttemptRow[]>(
    `SELECT a.hotkey, a.kind, a.engine, a.state, a.net_us, (a.network->>'canonicalBytes')::int AS credited, j.timeout_ms
       FROM studio.attempts a JOIN studio.jobs j ON j.id = a.job_id WHERE j.id = ANY($1)`,
    [ids],
  );
  const all: Record<string, Takings> = {};
  for (const { hotkey } of rig.miners) {
    all[nameOf(hotkey)] = { asked: 0, accepted: 0, states: {}, points: 0, creditedBytes: [] };
  }
  for (const row of rows) add(all[nameOf(row.hotkey)]!, row);
  return all;
}

function add(to: Takings, { kind, engine, state, net_us, credited, timeout_ms }: AttemptRow): void {
  to.asked += 1;
  to.states[state] = (to.states[state] ?? 0) + 1;
  if (state !== 'accepted') return;
  to.accepted += 1;
  to.creditedBytes.push(Number(credited));
  const { weightMicro } = taskKind(kind, engine);
  to.points += Number(pointsFor({ weightMicro, tMaxMs: timeout_ms, latencyUs: Number(net_us) })) / 1e6;
}

/** What the honest ones came to, on average: on a machine that is busy with other things, single ones have bad luck. */
export function meanHonest(all: Readonly<Record<string, Takings>>, of: (takings: Takings) => number): number {
  const honest = Object.entries(all).flatMap(([name, one]) => (name.startsWith('honest') ? [of(one)] : []));
  return honest.reduce((sum, one) => sum + one, 0) / honest.length;
}

export function print(title: string, all: Readonly<Record<string, Takings>>): void {
  const drawn = new Table({
    head: ['', 'asked', 'accepted', 'points', 'attempts'],
    colAligns: ['left', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const [name, { asked, accepted, points, states }] of Object.entries(all)) {
    const ends = Object.entries(states).sort(([a], [b]) => (a < b ? -1 : 1));
    drawn.push([
      name,
      asked,
      accepted,
      points.toFixed(3),
      ends.map(([state, count]) => `${count} ${state}`).join(', '),
    ]);
  }
  process.stdout.write(`${title}\n${drawn.toString()}\n`);
}

export interface Front {
  port: number;
  close(): Promise<void>;
}

/**
 * One address for several miners: each request goes on to the one that it is signed for. `dripMs`: replies come in pieces of
 * a quarter of their length, so far apart.
 */
export async function openFront(behind: readonly StubMiner[], dripMs = 0): Promise<Front> {
  const places = new Map(behind.map(({ hotkey, routable }) => [hotkey, new URL(routable.endpoint)]));
  const first = [...places.values()][0]!;
  const server: Server = createServer((incoming, outgoing) => {
    const { hostname, port } = places.get(String(incoming.headers[HEADERS.recipient])) ?? first;
    const { method, url: path, headers } = incoming;
    const onward = forward({ hostname, port, method, path, headers, agent: false }, (reply) => {
      const chunks: Buffer[] = [];
      reply.on('data', (chunk: Buffer) => chunks.push(chunk));
      reply.on('end', () => {
        outgoing.writeHead(reply.statusCode ?? 500, reply.headers);
        void drip(Buffer.concat(chunks), dripMs, (piece) => outgoing.write(piece)).then(() => outgoing.end());
      });
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { port: (server.address() as AddressInfo).port, close };
}

async function drip(body: Buffer, dripMs: number, write: (piece: Buffer) => void): Promise<void> {
  const size = dripMs > 0 ? Math.ceil(body.length / 4) : Math.max(1, body.length);
  for (let at = 0; at < body.length; at += size) {
    if (dripMs > 0) await sleep(dripMs);
    write(body.subarray(at, at + size));
  }
}
