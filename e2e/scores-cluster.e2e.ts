/** The NATS of validators as a cluster of three, with three copies of the stream: any server may die, and nobody notices more than a pause. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { cacheDirectory } from '@studio/launcher/servers/env';
import { freePort } from '@studio/launcher/servers/free-port';
import { natsBinary, natsConfig, STOP_STEPS } from '@studio/launcher/servers/nats';
import type { RunningServer } from '@studio/launcher/servers/running-server';
import { openScoresAccount, type ScoresAccountFiles } from '@studio/launcher/servers/scores-account';
import { runServer } from '@studio/launcher/servers/server-process';
import { boot, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { SCORES_STREAM, SUBJECTS } from '@studio/shared/contract/subjects';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { someAward } from '@studio/shared/testing/auditor-side';
import { RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { LiveFeed } from '@studio/validator/live-feed';
import { connect, credsAuthenticator, type NatsConnection, type StreamInfo } from 'nats';

jest.setTimeout(120_000);

const SERVERS = 3;
/** About what one server needs to be missed and another to lead, several times over. */
const AWARDS_AROUND_A_DEATH = 150;
const PACE_MS = 20;

interface Place {
  name: string;
  port: number;
  routePort: number;
  dir: string;
}

let dir: string;
let files: ScoresAccountFiles;
let places: Place[];
const running = new Map<string, RunningServer>();
let ground: RegistryGround;
let registry: RunningRegistry | undefined;
let operator: NatsConnection;

async function startServer({ name, port, routePort, dir: home }: Place): Promise<void> {
  const binary = await natsBinary('scores', cacheDirectory(resolve(__dirname, '..')), () => undefined);
  const config = join(home, 'nats.conf');
  mkdirSync(home, { recursive: true });
  const routes = places.map((place) => `nats://127.0.0.1:${place.routePort}`);
  const cluster = `server_name: ${name}\ncluster { name: scores, listen: "127.0.0.1:${routePort}", routes: ${JSON.stringify(routes)} }\n`;
  writeFileSync(config, natsConfig(binary, home, port) + readFileSync(files.serverConfig, 'utf8') + cluster);
  const url = `nats://127.0.0.1:${port}`;
  const probe = async (): Promise<void> => (await connect({ servers: url, ...asRegistry() })).close();
  running.set(name, await runServer({ name: 'scores', binary, args: ['-c', config], dir: home, url, port, probe, stopSteps: STOP_STEPS })); // prettier-ignore
}

const asRegistry = () => ({ authenticator: credsAuthenticator(readFileSync(files.registryCreds)), reconnect: true });

const urls = (): string[] => places.map(({ port }) => `nats://127.0.0.1:${port}`);

/** A registry that asks for so many copies, through any server of the cluster. */
function startRegistry(replicas: number): Promise<RunningRegistry> {
  const scores = {
    SCORES_NATS_URL: urls()[0]!,
    SCORES_NATS_CREDS: files.registryCreds,
    SCORES_NATS_SIGNING_KEY: files.signingKey,
    SCORES_NATS_REPLICAS: String(replicas),
  };
  return boot(loadEnv(RegistryEnv, ground.env(scores)), createLogger({ name: 'registry', level: 'warn', format: 'line' })); // prettier-ignore
}

/** Null while the cluster has no leader for it. */
async function stream(): Promise<StreamInfo | null> {
  try {
    return await (await operator.jetstreamManager({ checkAPI: false })).streams.info(SCORES_STREAM);
  } catch {
    return null;
  }
}

/** Once every copy has everything. */
const whole = (copies: number): Promise<StreamInfo> =>
  until(async () => {
    const info = await stream();
    const others = info?.cluster?.replicas ?? [];
    const isWhole = info?.config.num_replicas === copies && others.length === copies - 1 && others.every(({ current, lag }) => current && !lag); // prettier-ignore
    return isWhole && info;
  });

async function award(): Promise<number> {
  const entry = someAward({ epoch: 1 });
  const { subject } = SUBJECTS.appendLedger;
  const { connection } = ground.nats;
  const { seqs } = await requestJson<{ seqs: Record<string, number> }>(connection, subject, { entries: [entry] }, { timeoutMs: 5_000 }); // prettier-ignore
  return Number(seqs[entry.id]);
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'scores-cluster-'));
  ground = await RegistryGround.open(fetch);
  await ground.auditor.commit(1, 2);
  files = await openScoresAccount(dir);
  places = [];
  for (let n = 1; n <= SERVERS; n += 1) {
    const name = `scores-${n}`;
    places.push({ name, port: await freePort(), routePort: await freePort(), dir: join(dir, name) });
  }
  await Promise.all(places.map(startServer));
  operator = await connect({ servers: urls(), maxReconnectAttempts: -1, ...asRegistry() });
});
afterAll(async () => {
  await registry?.close();
  await operator?.close();
  await Promise.all([...running.values()].map((server) => server.stop()));
  await ground?.close();
  rmSync(dir, { recursive: true });
});

it('gives a stream that has one copy the copies that are asked for later, and keeps what is in it', async () => {
  registry = await startRegistry(1);
  const first = await award();
  await until(async () => (await stream())?.state.last_seq === first);
  await registry.close();
  registry = await startRegistry(3);
  const { state } = await whole(3);
  expect(state).toMatchObject({ first_seq: 1, last_seq: first, messages: first });
});

it('goes on, and leaves nothing out, when the server that leads the stream dies and comes back', async () => {
  const seqs = new Set<number>();
  const hotkey = hotkeyFromSeed('55'.repeat(32));
  const live = new LiveFeed({ registryUrl: registry!.url, hotkey, say: () => undefined });
  const ending = new AbortController();
  await live.open(1);
  const listening = (async () => {
    while (!ending.signal.aborted) {
      const event = await live.next(1_000, ending.signal);
      if (event) seqs.add(event.seq);
    }
  })();
  await until(() => Promise.resolve(seqs.has(1)));

  const { cluster } = await whole(3);
  const leader = running.get(cluster!.leader!)!;
  let last = 0;
  for (let given = 0; given < AWARDS_AROUND_A_DEATH; given += 1) {
    if (given === 10) process.kill(leader.pid!, 'SIGKILL');
    last = await award();
    await pause(PACE_MS);
  }
  await until(() => Promise.resolve(seqs.has(last)));
  expect([...seqs].sort((a, b) => a - b)).toEqual(upTo(last));
  const led = await until(async () => (await stream())?.cluster?.leader);
  expect(led).not.toBe(cluster!.leader);

  await leader.exited;
  await startServer(places.find(({ name }) => name === cluster!.leader)!);
  expect((await whole(3)).state).toMatchObject({ first_seq: 1, last_seq: last, messages: last });
  ending.abort();
  await listening;
  await live.close();
});

it('goes on with the copies that there are when the cluster has too few servers for more', async () => {
  await registry!.close();
  registry = await startRegistry(5);
  const last = await award();
  await until(async () => (await stream())?.state.last_seq === last);
  expect((await stream())?.config.num_replicas).toBe(3);
});
