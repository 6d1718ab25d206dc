import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createUser } from '@nats-io/jwt';
import { connect, jwtAuthenticator, type NatsConnection } from 'nats';
import type { ScoreEvent, ScoreEventPage } from '@studio/shared/contract/scores';
import { SCORES_STREAM, scoresDeliverSubject, SUBJECTS } from '@studio/shared/contract/subjects';
import type { ValidatorSession } from '@studio/shared/contract/validator-session';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import type { SignedForm } from '@studio/shared/protocol/epistula';
import { hotkeyFromSeed, type Hotkey } from '@studio/shared/protocol/hotkey';
import { someAward } from '@studio/shared/testing/auditor-side';
import { RegistryGround, until, type SignedSending } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const FORMS: SignedForm[] = ['native', 'epistula-2', 'epistula-dippy'];
const [ADA, BEN, CLEO, STRANGER] = ['a1', 'b2', 'c3', 'e5'].map((byte) => hotkeyFromSeed(byte.repeat(32))) as [
  Hotkey,
  Hotkey,
  Hotkey,
  Hotkey,
];
const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });

let ground: RegistryGround;
let registry: RunningRegistry;
const open: NatsConnection[] = [];

const start = (more: Record<string, string> = {}): Promise<RunningRegistry> =>
  boot(loadEnv(RegistryEnv, ground.env(more)), log);

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  await ground.auditor.commit(1, 2);
  registry = await start();
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
  await append(5);
});

afterAll(async () => {
  await Promise.all(open.map((connection) => connection.close()));
  await registry.close();
  await ground.close();
});

async function append(count: number): Promise<void> {
  const entries = Array.from({ length: count }, () => someAward({ epoch: 1 }));
  await requestJson(ground.nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });
}

/** A request for a session, which a test may spoil. */
const ask = (key: Hotkey, body: object, more: Partial<SignedSending> = {}, base = registry.url): Promise<Response> =>
  ground.send(base, { method: 'POST', path: `/v1/validators/${key.address}/session`, key, body, ...more });

const refusalOf = async (reply: Response): Promise<{ status: number; code: string; message: string }> => {
  const { error } = (await reply.json()) as { error: { code: string; message: string } };
  return { status: reply.status, code: error.code, message: error.message };
};

/** A validator of a few lines: what it heard, in order. */
async function listen(
  key: Hotkey,
  after: number,
  user = createUser(),
): Promise<{ events: ScoreEvent[]; beats: number }> {
  const reply = await until(async () => {
    const answer = await ask(key, { nkey: user.getPublicKey(), after });
    // The stream is made by the first sweep.
    return answer.status !== 503 && answer;
  });
  const session = (await reply.json()) as ValidatorSession;
  const heard = { events: [] as ScoreEvent[], beats: 0 };
  const connection = await connect({
    servers: session.servers,
    authenticator: jwtAuthenticator(session.jwt, user.getSeed()),
  });
  open.push(connection);
  connection.subscribe(session.deliver_subject, {
    callback: (_error, message) => {
      if (message.headers?.code) heard.beats += 1;
      else heard.events.push(message.json<ScoreEvent>());
    },
  });
  return heard;
}

const logged = async (after: number): Promise<ScoreEvent[]> =>
  ((await (await fetch(`${registry.url}/v1/scores/events?after=${after}`)).json()) as ScoreEventPage).events;

describe('a session', () => {
  it.each(FORMS)('is given for a signature in the form %s, for as long as it says', async (form) => {
    const reply = await until(async () => {
      const answer = await ask(ADA, { nkey: createUser().getPublicKey(), after: 0 }, { form });
      return answer.status !== 503 && answer;
    });
    const session = (await reply.json()) as ValidatorSession;
    expect(session).toMatchObject({
      servers: [ground.scores.url],
      deliver_subject: `deliver.${ADA.address}`,
      expires_in_s: 600,
    });
    const left = Date.parse(session.expires_at) - Date.now();
    expect(left).toBeGreaterThan(590_000);
    expect(left).toBeLessThanOrEqual(600_000);
  });

  it('lets each validator hear every event after the one it knows, old and new, and nothing of the others', async () => {
    const [ada, ben] = [await listen(ADA, 0), await listen(BEN, 3)];
    await append(4);
    await until(async () => ada.events.length >= 9 && ben.events.length >= 6);
    expect(ada.events).toEqual(await logged(0));
    expect(ben.events).toEqual(await logged(3));
  });

  it('begins again where the next one says', async () => {
    const user = createUser();
    const cleo = await listen(CLEO, 7, user);
    await until(async () => cleo.events.length === 2);
    expect((await ask(CLEO, { nkey: user.getPublicKey(), after: 2 })).status).toBe(200);
    await until(async () => cleo.events.length === 9);
    expect(cleo.events.map(({ seq }) => seq)).toEqual([8, 9, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('beats while there is nothing to say', async () => {
    const ada = await listen(ADA, (await logged(0)).length);
    await until(async () => ada.beats > 0);
    expect(ada.events).toEqual([]);
  });

  it('leaves a consumer that nobody can fetch from, and that vanishes unheard', async () => {
    await listen(ADA, 0);
    const manager = await ground.scores.connection.jetstreamManager();
    const { config } = await manager.consumers.info(SCORES_STREAM, ADA.address);
    expect(config).toMatchObject({
      deliver_subject: scoresDeliverSubject(ADA.address),
      ack_policy: 'none',
      mem_storage: true,
      inactive_threshold: 60_000_000_000,
    });
  });
});

describe('a request for a session is refused', () => {
  const body = { nkey: createUser().getPublicKey(), after: 0 };

  it('when another key signed it', async () => {
    const path = `/v1/validators/${ADA.address}/session`;
    expect(await refusalOf(await ask(STRANGER, body, { path }))).toMatchObject({ code: 'SIGNATURE_REFUSED' });
  });

  it('when it is not signed, or for somebody else, or signed too long ago, or changed on its way', async () => {
    const spoilt: Partial<SignedSending>[] = [
      { headers: () => ({}) },
      { recipient: STRANGER.address },
      { nowMs: Date.now() - 3_600_000 },
      { sent: JSON.stringify({ ...body, nkey: createUser().getPublicKey() }) },
    ];
    for (const more of spoilt) {
      expect(await refusalOf(await ask(ADA, body, more))).toMatchObject({ status: 401, code: 'SIGNATURE_REFUSED' });
    }
  });

  it('the second time', async () => {
    const nonce = '0f8fad5b-d9cb-469f-a165-70867728950e';
    expect((await ask(ADA, body, { nonce })).status).toBe(200);
    expect(await refusalOf(await ask(ADA, body, { nonce }))).toMatchObject({
      code: 'SIGNATURE_REFUSED',
      message: expect.stringMatching(/nonce was used/),
    });
  });

  it('when a field is wrong, and says which', async () => {
    const wrong = [
      { ...body, nkey: 'SUAKSECRET' },
      { ...body, nkey: createUser().getPublicKey().replace('U', 'A') },
      { ...body, after: -1 },
      { nkey: body.nkey },
    ];
    const messages = await Promise.all(wrong.map(async (each) => (await refusalOf(await ask(BEN, each))).message));
    expect(messages).toEqual([
      expect.stringMatching(/^nkey: is a public user key/),
      expect.stringMatching(/^nkey: is a public user key/),
      expect.stringMatching(/^after: must not be less than 0/),
      expect.stringMatching(/^after: is missing/),
    ]);
  });

  it('when it comes too often', async () => {
    const key = hotkeyFromSeed('77'.repeat(32));
    const replies = [];
    for (let sent = 0; sent < 13; sent += 1) replies.push(await ask(key, body));
    const codes = await Promise.all(replies.slice(-1).map(refusalOf));
    expect(replies.slice(0, -1).every(({ status }) => status === 200)).toBe(true);
    expect(codes).toMatchObject([{ status: 429, code: 'TOO_MANY_REQUESTS' }]);
  });
});

describe('a registry', () => {
  const body = { nkey: createUser().getPublicKey(), after: 0 };

  it('with a metagraph gives sessions to its members only, before it looks at a signature', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sessions-'));
    const file = join(directory, 'metagraph.json');
    await writeFile(
      file,
      JSON.stringify({ neurons: [{ uid: 0, hotkey: ADA.address, coldkey: ADA.address, stake: '1' }] }),
    );
    const strict = await start({ METAGRAPH: 'file', METAGRAPH_FILE: file });
    const member = await until(async () => {
      const reply = await ask(ADA, body, {}, strict.url);
      return reply.status !== 503 && reply;
    });
    expect(member.status).toBe(200);
    const refusal = await refusalOf(await ask(STRANGER, body, { headers: () => ({}) }, strict.url));
    expect(refusal).toMatchObject({ status: 403, code: 'NOT_A_MEMBER' });
    await strict.close();
    await rm(directory, { recursive: true });
  });

  it('whose NATS for validators is away is ready, serves the log, and says so', async () => {
    const deaf = await start({ SCORES_NATS_URL: 'nats://127.0.0.1:1' });
    expect((await fetch(`${deaf.url}/health/ready`)).status).toBe(200);
    expect((await fetch(`${deaf.url}/v1/scores/events`)).status).toBe(200);
    expect(await refusalOf(await ask(ADA, body, {}, deaf.url))).toMatchObject({ status: 503, code: 'DEPENDENCY_DOWN' });
    await deaf.close();
  });

  it('without a NATS for validators says where the log is', async () => {
    const without = await start({ SCORES_NATS_URL: '' });
    expect(await refusalOf(await ask(ADA, body, {}, without.url))).toMatchObject({
      status: 404,
      message: expect.stringMatching(/read GET \/v1\/scores\/events/),
    });
    await without.close();
  });
});
