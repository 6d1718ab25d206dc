import { randomUUID } from 'node:crypto';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import type { SignedForm } from '@studio/shared/protocol/epistula';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { RegistryGround, type SignedSending } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const FORMS: SignedForm[] = ['native', 'epistula-2', 'epistula-dippy'];
const miner = hotkeyFromSeed('31'.repeat(32));
const stranger = hotkeyFromSeed('32'.repeat(32));
const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });

const registration = {
  endpoint: 'http://127.0.0.1:8080',
  dialect: 'native',
  offers: [{ kind: 'lora-training', engine: 'ref-sep-v1', slots: 1 }],
};

let ground: RegistryGround;
let registry: RunningRegistry;

const start = (): Promise<RunningRegistry> => boot(loadEnv(RegistryEnv, ground.env()), log);

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  registry = await start();
});

afterAll(async () => {
  await registry.close();
  await ground.close();
});

const put = (more: Partial<SignedSending> = {}): Promise<Response> =>
  ground.send(registry.url, { key: miner, body: registration, ...more });

async function refusalOf(reply: Response): Promise<{ code: string; message: string }> {
  return { ...((await reply.json()) as { error: { code: string; message: string } }).error };
}

async function nonces(): Promise<number> {
  const { rows } = await ground.owner.query<{ n: number }>('SELECT count(*)::int AS n FROM studio.registry_nonces');
  return rows[0]!.n;
}

describe.each(FORMS.slice(1))('a withdrawal in the form %s, which does not sign the method', (form) => {
  it('is refused unless its body says that it is one', async () => {
    await put({ form });
    const bodies = [undefined, {}, { withdraw: stranger.address }];
    for (const body of bodies) {
      const reply = await ground.send(registry.url, { form, key: miner, method: 'DELETE', body });
      expect(await refusalOf(reply)).toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringMatching(/withdraw/),
      });
    }
    expect(await ground.routable()).toHaveLength(1);
  });
});

describe.each(FORMS)('a miner that signs in the form %s', (form) => {
  it('registers, changes its registration, reads its account and withdraws', async () => {
    expect(await (await put({ form })).json()).toMatchObject({
      hotkey: miner.address,
      endpoint: registration.endpoint,
    });
    const moved = { ...registration, endpoint: 'http://127.0.0.1:8090' };
    expect(await (await put({ form, body: moved })).json()).toMatchObject({ endpoint: moved.endpoint });
    const read = await ground.send(registry.url, { form, key: miner, method: 'GET' });
    expect(await read.json()).toMatchObject({ hotkey: miner.address, account: { jobs: [] } });
    const body = form === 'native' ? undefined : { withdraw: miner.address };
    expect((await ground.send(registry.url, { form, key: miner, method: 'DELETE', body })).status).toBe(204);
    expect(await ground.routable()).toEqual([]);
  });

  it.each<[string, Partial<SignedSending>, RegExp]>([
    ['too old', { nowMs: Date.now() - 3_600_000 }, /timestamp is \d+ ms away/],
    ['of the future', { nowMs: Date.now() + 3_600_000 }, /timestamp is \d+ ms away/],
    ['for another recipient', { recipient: stranger.address }, /another recipient/],
    ['over a body that differs by one byte', { sent: `${JSON.stringify(registration)} ` }, /does not match/],
    ['by another hotkey', { key: stranger, path: `/v1/miners/${miner.address}` }, /itself/],
    [
      'under another name',
      { headers: underTheNameOf(miner.address), key: stranger, path: `/v1/miners/${miner.address}` },
      /does not match/,
    ],
    ['without its signature', { headers: without(/signature|^authorization$/) }, /missing/],
    ['without its nonce', { headers: without(/nonce|uuid/) }, /missing/],
    ['without its recipient', { headers: without(/recipient|signed-for/) }, /missing/],
    ['without its time', { headers: without(/timestamp/) }, /missing/],
    ['that is none', { headers: (signed) => mapValues(signed, 'x') }, /has to be/],
  ])('is refused with a signature %s', async (_how, wrong, message) => {
    const before = await nonces();
    const reply = await put({ form, ...wrong });
    expect({ status: reply.status, ...(await refusalOf(reply)) }).toMatchObject({
      status: 401,
      code: 'SIGNATURE_REFUSED',
      message: expect.stringMatching(message),
    });
    expect(await nonces()).toBe(before);
  });

  it('cannot be repeated: not as it was, not as something else, not after a flush of Redis or a restart', async () => {
    const [nonce, nowMs] = [randomUUID(), Date.now()];
    const again = (more: Partial<SignedSending> = {}): Promise<Response> => put({ form, nonce, nowMs, ...more });
    expect((await again()).status).toBe(200);
    const replays = [await again()];
    expect((await again({ method: 'DELETE', body: undefined })).ok).toBe(false);
    await ground.redis.clear();
    replays.push(await again());
    await registry.close();
    registry = await start();
    replays.push(await again());
    for (const reply of replays) {
      expect(reply.status).toBe(401);
      expect((await refusalOf(reply)).message).toContain('nonce was used before');
    }
    expect(await ground.routable()).toHaveLength(1);
  });

  it('uses a nonce up by reading as well', async () => {
    await put({ form });
    const read = { form, key: miner, nonce: randomUUID(), nowMs: Date.now() };
    expect((await ground.send(registry.url, { ...read, method: 'GET' })).status).toBe(200);
    const repeated = await ground.send(registry.url, { ...read, method: 'GET' });
    expect({ status: repeated.status, ...(await refusalOf(repeated)) }).toMatchObject({
      status: 401,
      message: expect.stringContaining('nonce was used before'),
    });
  });
});

describe('a request that is not signed as it should be', () => {
  it('changes nothing, and is told how to sign', async () => {
    for (const method of ['PUT', 'DELETE']) {
      const reply = await fetch(`${registry.url}/v1/miners/${miner.address}`, { method });
      expect(reply.status).toBe(401);
      expect((await refusalOf(reply)).message).toContain('is not signed');
    }
  });

  it('is refused before its body is looked at', async () => {
    const reply = await fetch(`${registry.url}/v1/miners/${miner.address}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ nothing: 'right' }),
    });
    expect(reply.status).toBe(401);
  });

  it('reads the public view only, while a wrong signature reads nothing', async () => {
    await put();
    const open = await fetch(`${registry.url}/v1/miners/${miner.address}`);
    expect(open.status).toBe(200);
    expect(await open.json()).not.toHaveProperty('account');
    const path = `/v1/miners/${miner.address}`;
    expect((await ground.send(registry.url, { key: stranger, method: 'GET', path })).status).toBe(401);
  });

  it('of a hotkey that was never registered leaves no trace, signed or not', async () => {
    const before = await nonces();
    expect((await ground.send(registry.url, { key: stranger, method: 'GET' })).status).toBe(404);
    expect((await ground.send(registry.url, { key: stranger, method: 'DELETE' })).status).toBe(404);
    expect(await nonces()).toBe(before);
  });

  it('that mixes two forms is refused', async () => {
    const reply = await put({ headers: (signed) => ({ ...signed, 'epistula-uuid': randomUUID() }) });
    expect((await refusalOf(reply)).message).toContain('several signed forms');
  });
});

describe('a registration', () => {
  it('in version 2 of Epistula has to name its recipient', async () => {
    const reply = await put({ form: 'epistula-2', recipient: '' });
    expect(await refusalOf(reply)).toMatchObject({ message: expect.stringContaining('epistula-signed-for') });
  });

  it('cannot offer what its dialect has no words for', async () => {
    const offers = [
      { kind: 'lora-training', engine: 'flux', slots: 1 },
      { kind: 'lora-inference', engine: 'flux', slots: 1 },
      { kind: 'lora-inference', engine: 'ref-sep-v1', slots: 1 },
    ];
    const reply = await put({ body: { ...registration, dialect: 'dippy', offers } });
    expect(reply.status).toBe(422);
    expect(((await reply.json()) as { error: object }).error).toMatchObject({
      code: 'INVALID_INPUT',
      fields: [
        { path: 'offers.0', message: expect.stringContaining('dippy cannot say lora-training on flux') },
        { path: 'offers.2', message: expect.stringContaining('inference on flux only') },
      ],
    });
    expect((await put({ body: { ...registration, dialect: 'dippy', offers: [offers[1]] } })).status).toBe(200);
  });
});

function without(name: RegExp): SignedSending['headers'] {
  return (signed) => Object.fromEntries(Object.entries(signed).filter(([header]) => !name.test(header)));
}

function underTheNameOf(hotkey: string): SignedSending['headers'] {
  return (signed) =>
    Object.fromEntries(
      Object.entries(signed).map(([name, value]) => [name, /hotkey$|signed-by$/.test(name) ? hotkey : value]),
    );
}

function mapValues(signed: Record<string, string>, value: string): Record<string, string> {
  return Object.fromEntries(
    Object.keys(signed).map((name) => [name, name === 'authorization' ? `Epistula ${value}` : value]),
  );
}
