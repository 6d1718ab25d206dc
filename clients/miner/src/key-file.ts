/**
 * The hotkey on disk: JSON `{address, seed}`, readable by its owner only. Also reads what others write: a bare seed, and
 * the keyfiles of Substrate's Python tools and of bittensor (`secretSeed`, or `privateKey` where there is no seed).
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Hotkey, hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { encodeSs58 } from '@studio/shared/protocol/ss58';
import { getPublicKey } from '@scure/sr25519';
import { EnvError, type KeyEnv } from './env';

export const DEFAULT_KEY_FILE = '.data/miner/hotkey.json';

const SEED = /^(0x)?[0-9a-fA-F]{64}$/;
const SECRET = /^(0x)?[0-9a-fA-F]{128}$/;
/** Group and world: whoever reads the file is the miner. */
const READABLE_BY_OTHERS = 0o044;

/** What the file holds: a seed, or only the secret that was expanded from one. */
export interface StoredKey {
  address: string;
  seed?: string;
  secretKey?: string;
}

export function newKey(): StoredKey {
  return fromSeed(randomBytes(32).toString('hex'));
}

/** @throws EnvError with the remedy; it repeats nothing secret. */
export function parseKey(text: string): StoredKey {
  const trimmed = text.trim();
  if (SEED.test(trimmed)) return fromSeed(trimmed);
  if (trimmed.startsWith('$NACL') || trimmed.startsWith('$ANSIBLE_VAULT') || trimmed.startsWith('gAAAA')) {
    throw new EnvError(
      'the keyfile is encrypted: write it without a password (btcli wallet regen-hotkey) and import that',
    );
  }
  const fields = parseFields(trimmed);
  const seed = fields.seed ?? fields.secretSeed;
  const secret = fields.secretKey ?? fields.privateKey;
  const named = fields.address ?? fields.ss58Address;
  const key =
    typeof seed === 'string' && SEED.test(seed)
      ? fromSeed(seed)
      : typeof secret === 'string' && SECRET.test(secret)
        ? fromSecret(secret, named)
        : undefined;
  if (!key) throw new EnvError('the keyfile has neither `secretSeed` (64 hex digits) nor `privateKey` (128)');
  if (named !== undefined && named !== key.address) {
    throw new EnvError(
      `the keyfile names ${JSON.stringify(named)}, but its secret is that of ${key.address}: it is no sr25519 key`,
    );
  }
  return key;
}

export function hotkeyOf({ address, seed, secretKey }: StoredKey): Hotkey {
  return seed ? hotkeyFromSeed(seed) : { address, secretKey: Buffer.from(secretKey ?? '', 'hex') };
}

/** Never overwrites: a lost hotkey is a lost miner. @throws EnvError */
export async function writeKey(path: string, key: StoredKey): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  try {
    await writeFile(path, `${JSON.stringify(key, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
    await chmod(path, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new EnvError(`${path} exists: move it away first, or give another MINER_KEY_FILE (--key-file)`);
  }
}

/** @throws EnvError naming the file and the remedy. */
export async function readKey(path: string): Promise<StoredKey> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') {
      throw new EnvError(
        `there is no key in ${path}: make one with \`npm run miner -- keys create\`, or set MINER_SEED`,
      );
    }
    throw new EnvError(`the key file ${path} cannot be read (${error.code}): see to its owner and mode`);
  });
  try {
    return parseKey(text);
  } catch (error) {
    throw error instanceof EnvError ? new EnvError(`${path}: ${error.message}`) : error;
  }
}

/** The hotkey of this process: the seed, the file named, or the file that `keys create` writes. @throws EnvError */
export async function loadHotkey(env: KeyEnv): Promise<Hotkey> {
  if (env.MINER_SEED) return hotkeyFromSeed(env.MINER_SEED);
  return hotkeyOf(await readKey(env.MINER_KEY_FILE ?? DEFAULT_KEY_FILE));
}

/** A sentence where other users of this machine can read the file. Mounted secrets often are so: it is no error. */
export async function exposure(path: string): Promise<string | undefined> {
  const { mode } = await stat(path);
  return mode & READABLE_BY_OTHERS ? `${path} is readable by others: chmod 600 ${path}` : undefined;
}

function parseFields(text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // said below
  }
  throw new EnvError('not a key: 64 hex digits, or a keyfile as JSON');
}

function fromSeed(given: string): StoredKey {
  const seed = given.replace(/^0x/, '').toLowerCase();
  return { address: hotkeyFromSeed(seed).address, seed };
}

/**
 * Two forms are about: schnorrkel's own (Python's tools), and that of polkadot.js with the scalar times 8. The address
 * tells which; without one the file must be in the second, which is what we sign with.
 */
function fromSecret(given: string, address: unknown): StoredKey | undefined {
  const secret = Buffer.from(given.replace(/^0x/, ''), 'hex');
  for (const candidate of [secret, timesEight(secret)]) {
    const own = addressOf(candidate);
    if (own && (address === undefined || own === address))
      return { address: own, secretKey: candidate.toString('hex') };
  }
  const own = addressOf(secret);
  return own ? { address: own, secretKey: secret.toString('hex') } : undefined;
}

function addressOf(secretKey: Uint8Array): string | undefined {
  try {
    return encodeSs58(getPublicKey(secretKey));
  } catch {
    return undefined;
  }
}

/** The first 32 bytes as a little-endian number, times 8; the nonce half stays. */
function timesEight(secret: Buffer): Buffer {
  const result = Buffer.from(secret);
  let carry = 0;
  for (let i = 0; i < 32; i++) {
    const value = secret[i]! * 8 + carry;
    result[i] = value & 0xff;
    carry = value >> 8;
  }
  return result;
}
