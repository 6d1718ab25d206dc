import { ClientNats, RpcException, ServerNats } from '@nestjs/microservices';
import type { NatsConnection } from 'nats';
import { lastValueFrom, of, throwError } from 'rxjs';
import { isStudioError, StudioError } from '../domain/errors';
import { testServerUrls } from '../testing/env';
import { connectNats, hintBody, natsOptions, publishHint, requestJson } from './nats';

const log = { warn: () => undefined, info: () => undefined };

describe('a plain NATS client beside the transport of Nest', () => {
  const { nats: url } = testServerUrls();
  const prefix = `spec-${process.pid}`;
  const heard: unknown[] = [];
  let connection: NatsConnection;
  let server: ServerNats;

  beforeAll(async () => {
    connection = await connectNats(url, 'nats.db.spec', log);
    server = new ServerNats({ ...natsOptions(url, 'nats.db.spec server'), gracefulShutdown: false });
    server.addHandler(`${prefix}.double`, async (data: { n: number }) => of({ twice: data.n * 2 }));
    server.addHandler(`${prefix}.nothing`, async () => of(undefined));
    server.addHandler(`${prefix}.refuse`, async () => {
      const fields = [{ path: 'input.steps', message: 'at most 5000' }];
      return throwError(() =>
        new RpcException(new StudioError('INVALID_INPUT', 'steps: too many', fields).toBody().error).getError(),
      );
    });
    server.addHandler(`${prefix}.crash`, async () => throwError(() => 'Internal server error'));
    server.addHandler(`${prefix}.hint`, async (data: unknown) => void heard.push(data), true);
    const error = await new Promise<unknown>((resolve) => void server.listen(resolve));
    if (error) throw new Error('the server does not listen', { cause: error });
    await server.unwrap<NatsConnection>().flush();
  });

  afterAll(async () => {
    await server.close();
    await connection.close();
  });

  const ask = (subject: string, timeoutMs = 30_000) =>
    requestJson(connection, `${prefix}.${subject}`, { n: 21 }, { timeoutMs });
  const failure = async (asking: Promise<unknown>): Promise<StudioError> => {
    const error: unknown = await asking.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!isStudioError(error)) throw new Error('expected a StudioError', { cause: error });
    return error;
  };

  it('asks a message handler and gets its reply', async () => {
    expect(await ask('double')).toEqual({ twice: 42 });
    expect(await ask('nothing')).toBeUndefined();
  });

  it("gets a refusal with the handler's own code and fields", async () => {
    const error = await failure(ask('refuse'));
    expect(error).toMatchObject({ code: 'INVALID_INPUT', message: 'steps: too many' });
    expect(error.fields).toEqual([{ path: 'input.steps', message: 'at most 5000' }]);
  });

  it('calls a failure without a code ours', async () => {
    expect(await failure(ask('crash'))).toMatchObject({
      code: 'INTERNAL',
      message: `${prefix}.crash: Internal server error`,
    });
  });

  it('says at once when no service listens', async () => {
    expect(await failure(ask('nobody'))).toMatchObject({
      code: 'DEPENDENCY_DOWN',
      message: expect.stringContaining('no service listens'),
    });
  });

  it('says when the reply is late', async () => {
    const subscription = connection.subscribe(`${prefix}.silent`);
    expect(await failure(ask('silent', 50))).toMatchObject({
      code: 'DEPENDENCY_DOWN',
      message: expect.stringContaining('no reply within 50 ms'),
    });
    subscription.unsubscribe();
  });

  it('sends hints that a Nest event handler and a plain subscriber both read', async () => {
    const plain = connection.subscribe(`${prefix}.hint`, { max: 1 });
    publishHint(connection, `${prefix}.hint`, { jobId: 'j1' });
    for await (const message of plain) expect(hintBody(message.data)).toEqual({ jobId: 'j1' });
    // Events of one subject arrive in order: the reply to a later request proves that the hint was handled.
    await ask('double');
    expect(heard).toEqual([{ jobId: 'j1' }]);
  });

  it('reads hints that Nest emits', async () => {
    const emitter = new ClientNats(natsOptions(url, 'nats.db.spec emitter'));
    const subscription = connection.subscribe(`${prefix}.emitted`, { max: 1 });
    await connection.flush();
    await lastValueFrom(emitter.emit(`${prefix}.emitted`, { jobId: 'j2' }), { defaultValue: undefined });
    for await (const message of subscription) expect(hintBody(message.data)).toEqual({ jobId: 'j2' });
    await emitter.close();
  });

  it('drops a hint on a closed connection without a word', async () => {
    const closed = await connectNats(url, 'closed', log);
    await closed.close();
    expect(() => publishHint(closed, `${prefix}.hint`, {})).not.toThrow();
  });
});
