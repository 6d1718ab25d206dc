import { randomUUID } from 'node:crypto';
import { Pool } from 'undici';
import { freePort } from '@studio/launcher/servers/free-port';
import { startChild } from './child';
import { timed, WIDTH, type Contender } from './contender';
import type { HttpFloorConfig } from './http-floor';
import { closedLoop, openLoop } from './load';
import type { MinerFleet } from './miner-fleet';
import { minerRequest } from './workload';

export async function startFloor(fleet: MinerFleet): Promise<Contender & { stop(): Promise<void> }> {
  const port = await freePort();
  const server = await startChild<HttpFloorConfig>('http-floor', { port, miners: fleet.paid.map(({ url }) => url) });
  const pool = new Pool(`http://127.0.0.1:${port}`, { connections: WIDTH });
  const run = async (index: number): Promise<void> => {
    const body = JSON.stringify(minerRequest(randomUUID(), index));
    const headers = { 'content-type': 'application/json' };
    const reply = await pool.request({ path: '/v1/jobs', method: 'POST', headers, body });
    await reply.body.arrayBuffer();
    if (reply.statusCode !== 200) throw new Error(`the floor answered ${reply.statusCode}`);
  };
  return {
    name: 'HTTP only',
    what: 'client → Fastify → miner and back; nothing is stored, checked or repeated',
    processes: () => ({ fastify: server.pid, miners: fleet.pid }),
    burst: async (count) => (await timed(() => closedLoop(count, WIDTH, run))) / 1_000,
    paced: async (count, perSecond) => {
      const total: number[] = [];
      await openLoop(count, perSecond, async (index) => void total.push(await timed(() => run(index))));
      return { total, submit: [] };
    },
    verify: async () => [],
    stop: async () => {
      await pool.destroy();
      await server.stop();
    },
  };
}
