import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { EnvError, KeyEnv, type Variables, readEnv } from '../env';
import { DEFAULT_KEY_FILE, type StoredKey, exposure, newKey, parseKey, readKey, writeKey } from '../key-file';
import { say, tell } from './say';

/** `keys create` and `keys import`: the file is new, and only its owner can read it. */
export async function createKey(variables: Variables): Promise<void> {
  await store(variables, newKey());
}

/** @param source a keyfile, 64 hex digits, or `-` for either on standard input (a shell keeps what it was given). */
export async function importKey(variables: Variables, source: string): Promise<void> {
  const given = /^(0x)?[0-9a-fA-F]{64}$/.test(source) ? source : await contentOf(source);
  await store(variables, parseKey(given));
}

export async function showKey(variables: Variables, reveal: boolean): Promise<void> {
  const env = readEnv(KeyEnv, variables);
  const path = pathOf(env);
  const key = env.MINER_SEED ? parseKey(env.MINER_SEED) : await readKey(path);
  say(key.address);
  if (reveal) say(key.seed ?? key.secretKey ?? '');
  const warning = env.MINER_SEED ? undefined : await exposure(path);
  if (warning) tell(warning);
}

async function store(variables: Variables, key: StoredKey): Promise<void> {
  // The seed in the environment is another key: this command only asks where the file goes.
  const path = pathOf(readEnv(KeyEnv, { MINER_KEY_FILE: variables.MINER_KEY_FILE }));
  await writeKey(path, key);
  say(key.address);
  tell(`written to ${path} (mode 0600): back it up, there is no other copy`);
}

function pathOf({ MINER_KEY_FILE: path }: KeyEnv): string {
  return path ?? DEFAULT_KEY_FILE;
}

async function contentOf(source: string): Promise<string> {
  if (source === '-') return text(process.stdin);
  return readFile(source, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new EnvError(`${source} is no seed (64 hex digits) and cannot be read as a keyfile (${error.code})`);
  });
}
