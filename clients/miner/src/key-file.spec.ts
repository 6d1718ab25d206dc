import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hotkeyFromSeed, signText, verifyText } from '@studio/shared/protocol/hotkey';
import { EnvError, KeyEnv, readEnv } from './env';
import { exposure, hotkeyOf, loadHotkey, newKey, parseKey, readKey, writeKey } from './key-file';

let folder: string;
const seed = randomBytes(32).toString('hex');
const { address, secretKey } = hotkeyFromSeed(seed);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keys-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** schnorrkel's own form, as the Python tools write it: the scalar without the factor of 8. */
function canonical(secret: Uint8Array): string {
  let scalar = 0n;
  for (let i = 31; i >= 0; i--) scalar = (scalar << 8n) | BigInt(secret[i]!);
  const bytes = Buffer.from(secret);
  for (let i = 0, rest = scalar >> 3n; i < 32; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes.toString('hex');
}

describe('a key file', () => {
  it('is made once, for its owner only, and read back', async () => {
    const path = join(folder, 'new', 'hotkey.json');
    const key = newKey();
    await writeKey(path, key);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readKey(path)).toEqual(key);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ address: key.address, seed: key.seed });
    await expect(writeKey(path, newKey())).rejects.toThrow('exists: move it away first');
    expect(await readKey(path)).toEqual(key);
  });

  it.each([
    ['a bare seed', () => seed],
    ['a bare seed with 0x and a line end', () => `0x${seed.toUpperCase().replace(/X/g, 'x')}\n`],
    [
      'a keyfile with secretSeed',
      () => JSON.stringify({ secretSeed: `0x${seed}`, ss58Address: address, secretPhrase: null }),
    ],
    ['a keyfile with both', () => JSON.stringify({ secretSeed: `0x${seed}`, privateKey: `0x${'00'.repeat(64)}` })],
    [
      'the private key in the form of polkadot.js',
      () => JSON.stringify({ privateKey: Buffer.from(secretKey).toString('hex') }),
    ],
    [
      "the private key in schnorrkel's form",
      () => JSON.stringify({ privateKey: `0x${canonical(secretKey)}`, ss58Address: address }),
    ],
  ])('takes over %s', async (_, text) => {
    const key = parseKey(text());
    expect(key.address).toBe(address);
    expect(verifyText(address, 'a message', signText(hotkeyOf(key), 'a message'))).toBe(true);
  });

  it.each([
    ['nothing', '', 'not a key'],
    ['other JSON', '{"a":1}', 'neither `secretSeed`'],
    ['an encrypted keyfile', '$NACL…', 'encrypted'],
    [
      'a seed of another address',
      JSON.stringify({ secretSeed: '11'.repeat(32), ss58Address: address }),
      'but its secret is that of',
    ],
    [
      'a private key of another address',
      JSON.stringify({ privateKey: '11'.repeat(64), ss58Address: address }),
      'but its secret is that of',
    ],
  ])('refuses %s and repeats no secret', (_, text, complaint) => {
    expect(() => parseKey(text)).toThrow(complaint);
    expect(() => parseKey(text)).toThrow(EnvError);
    expect(() => parseKey(text)).not.toThrow('11'.repeat(32));
  });

  it('says when others can read it', async () => {
    const path = join(folder, 'open.json');
    await writeFile(path, seed, { mode: 0o600 });
    expect(await exposure(path)).toBeUndefined();
    await chmod(path, 0o644);
    expect(await exposure(path)).toContain(`chmod 600 ${path}`);
  });
});

describe('the hotkey of a process', () => {
  it('comes from the seed or the file, and not from both', async () => {
    const path = join(folder, 'own.json');
    await writeKey(path, parseKey(seed));
    expect((await loadHotkey(readEnv(KeyEnv, { MINER_KEY_FILE: path }))).address).toBe(address);
    expect((await loadHotkey(readEnv(KeyEnv, { MINER_SEED: seed }))).address).toBe(address);
    expect(() => readEnv(KeyEnv, { MINER_SEED: seed, MINER_KEY_FILE: path })).toThrow('give one of them');
  });

  it('is asked for with the command that makes one', async () => {
    const missing = readEnv(KeyEnv, { MINER_KEY_FILE: join(folder, 'none.json') });
    await expect(loadHotkey(missing)).rejects.toThrow('keys create');
  });
});
