import { hotkeyFromSeed, type Hotkey } from '@studio/shared/protocol/hotkey';
import { readFileIfAny } from './durable-file';

const SEED = /^(0x)?[0-9a-fA-F]{64}$/;

/** The key cannot be used; the message has the remedy and nothing secret. */
export class KeyUnusable extends Error {
  override readonly name = 'KeyUnusable';
}

export interface KeyPlace {
  seed?: string;
  keyFile?: string;
}

/**
 * Who this validator is; undefined where no key is given: HTTP needs none, only the stream does.
 * @throws KeyUnusable
 */
export async function loadHotkey({ seed, keyFile }: KeyPlace): Promise<Hotkey | undefined> {
  if (seed !== undefined && keyFile !== undefined) {
    throw new KeyUnusable('VALIDATOR_SEED and --key-file (VALIDATOR_KEY_FILE): give one of them');
  }
  if (seed !== undefined) {
    if (!SEED.test(seed)) throw new KeyUnusable('VALIDATOR_SEED has to be 64 hex digits');
    return hotkeyFromSeed(seed);
  }
  return keyFile === undefined ? undefined : hotkeyFromSeed(await seedIn(keyFile));
}

/** 64 hex digits; or JSON with `seed`, as `npm run miner -- keys create` writes, or `secretSeed`, as bittensor does. */
async function seedIn(path: string): Promise<string> {
  const text = (await readFileIfAny(path))?.trim();
  if (text === undefined) throw new KeyUnusable(`there is no key file ${path}: see --key-file`);
  const seed = SEED.test(text) ? text : fieldOf(text);
  if (typeof seed === 'string' && SEED.test(seed)) return seed;
  throw new KeyUnusable(
    `${path} holds no seed: 64 hex digits, or JSON with "seed" or "secretSeed". An encrypted keyfile has to be written without a password first`,
  );
}

function fieldOf(text: string): unknown {
  try {
    const { seed, secretSeed } = JSON.parse(text) as { seed?: unknown; secretSeed?: unknown };
    return seed ?? secretSeed;
  } catch {
    return undefined;
  }
}
