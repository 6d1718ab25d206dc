import { isStudioError } from '@studio/shared/domain/errors';
import type { NatsConnection } from 'nats';
import { randomBytes } from 'node:crypto';
import { keyHash, type StoredKey } from '../client-key.store';
import { BELIEVED_MS, ClientAccess } from './client-access';

const KEY = `studio_${randomBytes(6).toString('hex')}_${randomBytes(32).toString('hex')}`;
const header = `Key ${KEY}`;

let stored: StoredKey | undefined;
let lookUps: number;
let taken: string[];
let nowMs: number;
let access: ClientAccess;
/** What the hint calls. */
let hint: () => void;
/** Keeps a look-up under way. */
let gate: Promise<void>;

beforeEach(() => {
  stored = { keyId: 'k', clientId: 'c', hash: keyHash(KEY), scopes: ['jobs:read'], requestsPerMinute: 5 };
  [lookUps, taken, nowMs, gate] = [0, [], 0, Promise.resolve()];
  const find = async (): Promise<StoredKey | undefined> => {
    lookUps += 1;
    const found = stored;
    await gate;
    return found;
  };
  access = new ClientAccess({ find }, { take: async (key) => void taken.push(key) }, () => nowMs);
  access.start({
    subscribe: (_: string, { callback }: { callback: () => void }) => (hint = callback),
  } as unknown as NatsConnection);
});

const refusal = async (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'admitted',
    (error: unknown) => (isStudioError(error) ? error.code : String(error)),
  );

it('looks a key up once while it is believed', async () => {
  for (let request = 0; request < 100; request += 1) expect(await access.admit(header, ['jobs:read'])).toBe('c');
  expect(lookUps).toBe(1);
  expect(taken).toHaveLength(100);
});

it('believes a revoked key no longer than it says, where no hint came', async () => {
  await access.admit(header, []);
  stored = undefined;
  nowMs = BELIEVED_MS - 1;
  expect(await access.admit(header, [])).toBe('c');
  nowMs = BELIEVED_MS;
  expect(await refusal(access.admit(header, []))).toBe('UNAUTHENTICATED');
});

it('refuses a revoked key at once after the hint', async () => {
  await access.admit(header, []);
  stored = undefined;
  hint();
  expect(await refusal(access.admit(header, []))).toBe('UNAUTHENTICATED');
});

it('does not believe after a hint what was being read when it came', async () => {
  let open = (): void => undefined;
  gate = new Promise((resolve) => (open = resolve));
  const early = access.admit(header, []);
  stored = undefined;
  hint();
  open();
  await early;
  expect(await refusal(access.admit(header, []))).toBe('UNAUTHENTICATED');
});

it('refuses another secret behind a known prefix', async () => {
  await access.admit(header, []);
  const forged = `${KEY.slice(0, -1)}${KEY.endsWith('0') ? '1' : '0'}`;
  expect(await refusal(access.admit(`Key ${forged}`, []))).toBe('UNAUTHENTICATED');
});

it('names the scope that a key lacks, and counts the request', async () => {
  await expect(access.admit(header, ['jobs:write'])).rejects.toMatchObject({
    code: 'FORBIDDEN',
    message: expect.stringContaining('jobs:write'),
  });
  expect(taken).toEqual(['k']);
});
