import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect, credsAuthenticator, type NatsConnection } from 'nats';
import { scoresDeliverSubject } from '@studio/shared/contract/subjects';
import { cacheDirectory } from './env';
import type { RunningServer } from './running-server';
import { startScores } from './scores';
import { scoresAccountFiles, VALIDATOR_SUBJECT } from './scores-account';

jest.setTimeout(60_000);

const cacheDir = cacheDirectory(resolve(__dirname, '../../../..'));
let dir: string;
let server: RunningServer;

const start = (port?: number): Promise<RunningServer> => startScores({ dir, port, cacheDir, log: () => undefined });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'studio-scores-'));
  server = await start();
});

afterAll(async () => {
  await server.stop();
  rmSync(dir, { recursive: true });
});

const enter = (creds: Uint8Array): Promise<NatsConnection> =>
  connect({ servers: server.url, authenticator: credsAuthenticator(creds), reconnect: false });

describe('the NATS for validators', () => {
  it('lets nobody in without a token', async () => {
    await expect(connect({ servers: server.url, reconnect: false })).rejects.toThrow(/Authorization Violation/);
  });

  it('keeps its account, and the stream in it, over a kill', async () => {
    const creds = readFileSync(scoresAccountFiles(dir).registryCreds);
    const before = await enter(creds);
    await (await before.jetstreamManager()).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await before.close();
    process.kill(server.pid!, 'SIGKILL');
    await server.exited;
    server = await start(server.port);
    const after = await enter(creds);
    await expect((await after.jetstreamManager()).streams.info('KEPT')).resolves.toBeDefined();
    await after.close();
  });

  it('keeps its secrets from others on the machine', () => {
    const { registryCreds, signingKey, accountSeed, operatorSeed } = scoresAccountFiles(dir);
    for (const file of [registryCreds, signingKey, accountSeed, operatorSeed]) {
      expect(statSync(file).mode & 0o077).toBe(0);
    }
  });

  it('gives validators the subject that the contract names', () => {
    expect(VALIDATOR_SUBJECT).toBe(scoresDeliverSubject('{{name()}}'));
  });
});
