import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { buildProjects } from '@studio/shared/testing/built-projects';
import { HOSTILE_CASES, HOSTILE_REQUEST } from '@studio/shared/testing/hostile-corpus';
import { HOSTILE_LORA, HOSTILE_SIZE, honestResults, hostileResults } from '@studio/shared/testing/hostile-results';
import { reply, startHostileServer, type HostileServer } from '@studio/shared/testing/hostile-server';

jest.setTimeout(120_000);

/** A worker's limits: its memory at any time, and how late its event loop may be in 99 of 100 looks. */
const MAX_RSS_MIB = 512;
const MAX_LATE_P99_MS = 200;
/** Long enough to download and to check on a busy machine; what is to end by time has a deadline of its own. */
const RESULT_MS = 60_000;
/** More than the check threads take. */
const RESULTS_AT_ONCE = 4;
/** Of 52 in the same millisecond, the floods together hold the loop up for 150 to 310 ms on two busy cores. */
const SERVERS_AT_ONCE = 8;
const RESULT_BYTES = 17 * 1024 * 1024;

/**
 * A worker as far as strangers' bytes reach it: the egress client, the reader of results, the check threads; and a watch
 * over its own event loop, which does not count the time that the processor was given to others.
 */
const WORKER = `
  const { readFileSync } = require('node:fs');
  const { createEgress } = require('@studio/shared/platform/egress');
  const { CheckPool } = require('@studio/querier/checks/check-pool');
  const { expectedFiles, readMinerResult } = require('@studio/querier/miner-result');
  const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 64 });
  const pool = new CheckPool();

  const waitedMs = () => {
    try { return Number(readFileSync('/proc/self/task/' + process.pid + '/schedstat', 'utf8').split(' ')[1]) / 1e6; } catch { return 0; }
  };
  // Linux hands maxRSS on to a child: it would be the test runner's. VmHWM begins anew with the program.
  const peakMib = () => {
    try { return Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024; } catch { return process.resourceUsage().maxRSS / 1024; }
  };
  const late = [];
  let last = [performance.now(), waitedMs()];
  const tick = () => {
    const now = [performance.now(), waitedMs()];
    late.push(now[0] - last[0] - 20 - (now[1] - last[1]));
    last = now;
  };

  async function outcome({ request, check, size, lora }) {
    const reply = await egress.request(request);
    if (!check) {
      for await (const _ of reply.body);
      return reply.status;
    }
    const [kind, input] = check === 'image' ? ['lora-inference', { ...size, numImages: 1 }] : ['lora-training', lora];
    const { files } = await readMinerResult(reply.body, reply.headers['content-type'], expectedFiles(kind, 'ref-sep-v1', input));
    const [file] = [...files.values()];
    const checked = await (check === 'image' ? pool.image(file, size) : pool.lora(file, lora));
    return checked.ok ? 'accepted' : checked.reason;
  }

  process.on('message', async (message) => {
    if (message.start) { last = [performance.now(), waitedMs()]; setInterval(tick, 20); return process.send({ id: message.id }); }
    if (message.report) {
      late.sort((a, b) => a - b);
      const [p99Ms, maxMs] = [late[Math.floor(0.99 * late.length)], late.at(-1)];
      return process.send({ id: message.id, rssMib: peakMib(), p99Ms, maxMs });
    }
    const found = await outcome(message).catch((error) => error.code ?? error.message);
    process.send({ id: message.id, found });
  });
  process.send({ ready: true });
`;

interface Answer {
  id: number;
  found?: string | number;
  rssMib?: number;
  p99Ms?: number;
  maxMs?: number;
}

class Worker {
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private next = 0;
  readonly child: ChildProcess;

  constructor(folder: string) {
    // `-e` instead of a file: what it does belongs to this test alone.
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const;
    this.child = spawn(process.execPath, ['-e', WORKER], { stdio: [...stdio], cwd: folder });
    this.child.on('message', (answer: Answer) => this.waiting.get(answer.id)?.(answer));
  }

  ask(message: object): Promise<Answer> {
    const id = (this.next += 1);
    const answered = new Promise<Answer>((resolve) => this.waiting.set(id, resolve));
    this.child.send({ id, ...message });
    return answered;
  }
}

async function inWaves<T, R>(items: readonly T[], atOnce: number, run: (item: T) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  for (let at = 0; at < items.length; at += atOnce) {
    done.push(...(await Promise.all(items.slice(at, at + atOnce).map(run))));
  }
  return done;
}

describe('a worker', () => {
  let worker: Worker;
  let folder: string;
  const servers: HostileServer[] = [];

  beforeAll(async () => {
    folder = buildProjects(['libs/shared', 'services/querier']);
    worker = new Worker(folder);
    const [first] = (await Promise.race([once(worker.child, 'message'), once(worker.child, 'exit')])) as unknown[];
    if (typeof first !== 'object')
      throw new Error(`the worker ended with code ${JSON.stringify(first)} instead of starting`);
  });
  afterAll(async () => {
    worker.child.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.close()));
    rmSync(folder, { recursive: true });
  });

  async function serve(...given: Parameters<typeof startHostileServer>): Promise<number> {
    const server = await startHostileServer(...given);
    servers.push(server);
    return server.port;
  }

  it('outlives every hostile server and every hostile result, in bounded memory, without standing still', async () => {
    const results = [...(await honestResults()), ...(await hostileResults())];
    const urls = await Promise.all(
      results.map(async ({ body, contentType }) => {
        const head = `HTTP/1.1 200 OK\r\ncontent-type: ${contentType}\r\ncontent-length: ${body.length}\r\n\r\n`;
        return `http://127.0.0.1:${await serve(reply(head, body))}/`;
      }),
    );
    const ask = (url: string, check: string): Promise<Answer> =>
      worker.ask({
        request: { url, method: 'GET', deadlineMs: RESULT_MS, maxBytes: RESULT_BYTES },
        check,
        size: HOSTILE_SIZE,
        lora: HOSTILE_LORA,
      });
    // Honest work first, so much at once that every check thread starts and loads: no hostile miner's doing.
    const honest = await Promise.all([0, 0, 0, 0].map(() => ask(urls[0]!, 'image')));
    honest.push(await ask(urls[1]!, 'lora'));
    expect(new Set(honest.map(({ found }) => found))).toEqual(new Set(['accepted']));
    // Likewise the root certificates, which Node reads for the first connection with TLS: some 300 ms, once.
    const secure = await serve(reply(''), { tls: true });
    const url = `https://127.0.0.1:${secure}/`;
    const request = { ...HOSTILE_REQUEST, url, deadlineMs: RESULT_MS };
    expect((await worker.ask({ request })).found).toBe('bad-certificate');
    const before = await worker.ask({ report: true });
    await worker.ask({ start: true });

    const outcomes = await inWaves(HOSTILE_CASES, SERVERS_AT_ONCE, async (hostile) => {
      const { behaviour, tls, https, maxBytes = HOSTILE_REQUEST.maxBytes, outcome } = hostile;
      const port = await serve(behaviour, { tls: tls === true });
      const { found } = await worker.ask({
        request: { ...HOSTILE_REQUEST, maxBytes, url: `${https ? 'https' : 'http'}://127.0.0.1:${port}/` },
      });
      return [found, outcome];
    });
    const cases = urls.map((address, index) => ({ address, kind: results[index]!.kind }));
    const judged = await inWaves(cases, RESULTS_AT_ONCE, ({ address, kind }) => ask(address, kind));

    const { rssMib = Infinity, p99Ms = Infinity, maxMs = Infinity } = await worker.ask({ report: true });
    process.stdout.write(
      `hostile corpus: ${outcomes.length} servers, ${judged.length} results; peak RSS ${rssMib.toFixed(0)} MiB ` +
        `(${before.rssMib?.toFixed(0)} before), event loop late by ${p99Ms.toFixed(0)} ms (p99), ${maxMs.toFixed(0)} ms at most\n`,
    );
    // Side by side, a case may end by its deadline before the limit that ends it when alone.
    for (const [found, expected] of outcomes) expect([expected, 'timeout']).toContain(found);
    expect(judged.every(({ found }) => found !== undefined)).toBe(true);
    expect(rssMib).toBeLessThan(MAX_RSS_MIB);
    expect(p99Ms).toBeLessThan(MAX_LATE_P99_MS);
    // It is alive, and still does honest work.
    expect((await ask(urls[0]!, 'image')).found).toBe('accepted');
    expect(worker.child.exitCode).toBeNull();
  });
});
