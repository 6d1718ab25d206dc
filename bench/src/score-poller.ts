/** A crowd of validators that ask for the scores, each over a connection of its own: a process by itself. */
import { Pool } from 'undici';
import { serve, tell } from './child';
import { closedLoop, openLoop } from './load';
import { percentile } from './statistics';

export interface ScorePollerConfig {
  registryUrl: string;
  validators: number;
  /** Changing it starts a run, whose outcome is told. */
  run: PollingRun | null;
}

export interface PollingRun {
  polls: number;
  /** Of all together; null: each asks again as soon as it has its answer. */
  perSecond: number | null;
  /** Send the ETag of the last answer. */
  conditional: boolean;
}

export interface PollingOutcome {
  statuses: Record<string, number>;
  /** From when a poll was due to the end of its answer. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  bytes: number;
  seconds: number;
}

void serve<ScorePollerConfig>(async ({ registryUrl, validators, run: first }) => {
  const pool = new Pool(registryUrl, { connections: validators });
  const etags = new Map<number, string>();
  process.on('message', ({ run }: Partial<ScorePollerConfig>) => {
    if (run) void poll(run).then(tell);
  });
  if (first) tell(await poll(first));

  async function ask(validator: number, conditional: boolean): Promise<{ status: number; bytes: number }> {
    const known = conditional ? etags.get(validator) : undefined;
    const headers = known === undefined ? {} : { 'if-none-match': known };
    const reply = await pool.request({ path: '/v1/scores', method: 'GET', headers });
    const body = await reply.body.arrayBuffer();
    etags.set(validator, String(reply.headers.etag));
    return { status: reply.statusCode, bytes: body.byteLength };
  }

  async function poll({ polls, perSecond, conditional }: PollingRun): Promise<PollingOutcome> {
    const statuses: Record<string, number> = {};
    const latencies: number[] = [];
    let bytes = 0;
    const start = performance.now();
    const work = async (index: number): Promise<void> => {
      const due = perSecond === null ? performance.now() : start + (index * 1_000) / perSecond;
      const answer = await ask(index % validators, conditional);
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
      bytes += answer.bytes;
      latencies.push(performance.now() - due);
    };
    if (perSecond === null) await closedLoop(polls, validators, work);
    else await openLoop(polls, perSecond, work);
    const [p50Ms, p99Ms, maxMs] = [0.5, 0.99, 1].map((p) => percentile(latencies, p)) as [number, number, number];
    return { statuses, p50Ms, p99Ms, maxMs, bytes, seconds: (performance.now() - start) / 1_000 };
  }
});
