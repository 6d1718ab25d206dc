import { readFileSync } from 'node:fs';
import { Algorithms, createUser, encodeUser, fromSeed, type User } from '@nats-io/jwt';
import {
  AckPolicy,
  connect,
  DeliverPolicy,
  ErrorCode,
  Events,
  jwtAuthenticator,
  NatsError,
  StringCodec,
  type JetStreamManager,
  type Msg,
  type NatsConnection,
} from 'nats';
import { SCORES_STREAM, scoresDeliverSubject } from '@studio/shared/contract/subjects';
import { openTestScores, type TestScores } from '@studio/shared/testing/nats';
import { ValidatorTokens } from './validator-tokens';

/** What NATS allows to validators, whatever the registry does: the account says it, the server keeps it. */
const NAME = 'V';
const OTHER = 'W';
const text = StringCodec();
const inAnHour = (): number => Math.floor(Date.now() / 1_000) + 3_600;

let scores: TestScores;
let manager: JetStreamManager;
let tokens: ValidatorTokens;
const open: NatsConnection[] = [];

beforeAll(async () => {
  scores = await openTestScores();
  manager = await scores.connection.jetstreamManager();
  tokens = await ValidatorTokens.read(scores.files);
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close()));
  await scores.clear();
});

afterAll(() => scores.close());

async function enter(token: (nkey: string) => Promise<string>, seed = createUser()): Promise<NatsConnection> {
  const jwt = await token(seed.getPublicKey());
  const connection = await connect({
    servers: scores.url,
    authenticator: jwtAuthenticator(jwt, seed.getSeed()),
    reconnect: false,
  });
  open.push(connection);
  return connection;
}

const validator = (name = NAME): Promise<NatsConnection> => enter((nkey) => tokens.sign(name, nkey, inAnHour()));

/** As it seems right at first: a token with what pulling from one's own consumer needs, signed by the account. */
function puller(stream: string, consumer: string): Promise<NatsConnection> {
  const account = fromSeed(Buffer.from(readFileSync(scores.files.accountSeed)));
  const rights: Partial<User> = {
    pub: { allow: [`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, `$JS.ACK.${stream}.${consumer}.>`] },
    sub: { allow: ['_INBOX.>'] },
  };
  return enter((nkey) => encodeUser('puller', nkey, account, rights, { algorithm: Algorithms.v2 }));
}

/** A stream with one message and the validator's consumer. */
async function stream(name: string, subject: string): Promise<void> {
  await manager.streams.add({ name, subjects: [subject], deny_delete: true, deny_purge: true });
  await scores.connection.jetstream().publish(subject.replace('>', 'one'), text.encode('one'));
  await manager.consumers.add(name, {
    durable_name: NAME,
    deliver_subject: scoresDeliverSubject(NAME),
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.All,
  });
}

const exists = (name: string): Promise<boolean> =>
  manager.streams.info(name).then(
    () => true,
    () => false,
  );

/** The first message on a subject, or why there is none. */
const heard = (connection: NatsConnection, subject: string): Promise<Msg | NatsError> =>
  new Promise((resolve) => {
    connection.subscribe(subject, { max: 1, callback: (error, message) => resolve(error ?? message) });
  });

/** What the server says against each of so many tries. */
async function refusals(connection: NatsConnection, count: number): Promise<string[]> {
  const found: string[] = [];
  for await (const { type, permissionContext } of connection.status()) {
    if (type !== Events.Error || !permissionContext) continue;
    found.push(`${permissionContext.operation} ${permissionContext.subject}`);
    if (found.length === count) break;
  }
  return found;
}

describe('a validator', () => {
  it('hears what its own consumer sends', async () => {
    await stream(SCORES_STREAM, 'scores.>');
    const message = await heard(await validator(), scoresDeliverSubject(NAME));
    expect(message).not.toBeInstanceOf(NatsError);
    expect(text.decode((message as Msg).data)).toBe('one');
  });

  it('may say nothing, not even as the answer to what it hears', async () => {
    await stream(SCORES_STREAM, 'scores.>');
    const connection = await validator();
    const { reply } = (await heard(connection, scoresDeliverSubject(NAME))) as Msg;
    const everything: string[] = [];
    const spy = scores.connection.subscribe('>', { callback: (_error, { subject }) => void everything.push(subject) });
    await scores.connection.flush();
    const subjects = [
      reply!,
      `$JS.API.CONSUMER.MSG.NEXT.${SCORES_STREAM}.${NAME}`,
      `$JS.API.STREAM.DELETE.${SCORES_STREAM}`,
      `$JS.API.CONSUMER.DELETE.${SCORES_STREAM}.${OTHER}`,
      '$JS.API.INFO',
      `$JS.ACK.${SCORES_STREAM}.${NAME}.1.1.1.1.0`,
      'scores.1.one',
      scoresDeliverSubject(NAME),
      scoresDeliverSubject(OTHER),
      '_INBOX.x',
      'anything',
    ];
    const refused = refusals(connection, subjects.length);
    for (const subject of subjects) connection.publish(subject);
    expect(await refused).toEqual(subjects.map((subject) => `publish ${subject}`));
    await scores.connection.flush();
    spy.unsubscribe();
    expect(everything).toEqual([]);
    expect(await exists(SCORES_STREAM)).toBe(true);
  });

  it.each([scoresDeliverSubject(OTHER), 'deliver.*', 'deliver.>', 'scores.>', '_INBOX.>', '$JS.>', '$SYS.>', '>'])(
    'may not listen to %s',
    async (subject) => {
      const refusal = await heard(await validator(), subject);
      expect((refusal as NatsError).permissionContext).toMatchObject({ operation: 'subscription', subject });
    },
  );

  it('is not let in with a token that was widened, though signed by the right key', async () => {
    const widenings: Partial<User>[] = [
      { pub: { allow: ['>'] } },
      { sub: { allow: ['>'] } },
      { resp: { max: 1, ttl: 1_000_000_000 } },
      { subs: -1, data: -1, payload: -1 },
      { bearer_token: true },
    ];
    for (const widened of widenings) {
      await expect(enter((nkey) => tokens.sign(NAME, nkey, inAnHour(), widened))).rejects.toThrow(
        /Authorization Violation/,
      );
    }
  });

  it('is put out when its token expires', async () => {
    // In seconds: enough of them to be let in on a slow machine.
    const connection = await enter((nkey) => tokens.sign(NAME, nkey, Math.floor(Date.now() / 1_000) + 5));
    expect(await connection.closed()).toMatchObject({ code: ErrorCode.AuthenticationExpired });
  });

  it('is not let in with a token that has expired, or that was made for another key', async () => {
    await expect(enter((nkey) => tokens.sign(NAME, nkey, inAnHour() - 3_601))).rejects.toThrow(/Authorization/);
    const other = createUser().getPublicKey();
    await expect(enter(() => tokens.sign(NAME, other, inAnHour()))).rejects.toThrow(/Authorization/);
  });
});

describe('the attack: JetStream answers wherever the question says, and does not ask who may speak there', () => {
  const SCRATCH = 'SCRATCH';
  /** Nothing waits, so the answer has no body, as the question to delete a stream may have none. */
  const question = text.encode(JSON.stringify({ batch: 1, no_wait: true }));
  const pull = `$JS.API.CONSUMER.MSG.NEXT.${SCRATCH}.pulled`;
  const reply = `$JS.API.STREAM.DELETE.${SCRATCH}`;

  beforeEach(async () => {
    await stream(SCRATCH, 'scratch.>');
    await manager.consumers.add(SCRATCH, {
      durable_name: 'pulled',
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.New,
    });
  });

  it('deletes the stream with no more than the right to pull, deny_delete and all', async () => {
    const connection = await puller(SCRATCH, 'pulled');
    connection.publish(pull, question, { reply });
    // Looked at until it is done: an answer that a busy machine is late with is no defence.
    while (await exists(SCRATCH));
  });

  it('comes to nothing from a validator', async () => {
    const connection = await validator();
    const refused = refusals(connection, 1);
    connection.publish(pull, undefined, { reply });
    expect(await refused).toEqual([`publish ${pull}`]);
    expect(await exists(SCRATCH)).toBe(true);
  });
});
