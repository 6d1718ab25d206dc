import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { KeyUnusable, loadHotkey } from './key';

const SEED = 'ab'.repeat(32);
const { address } = hotkeyFromSeed(SEED);
let directory: string;

beforeAll(async () => (directory = await mkdtemp(join(tmpdir(), 'key-'))));
afterAll(() => rm(directory, { recursive: true }));

async function file(text: string): Promise<string> {
  const path = join(directory, 'hotkey');
  await writeFile(path, text);
  return path;
}

describe('the key of a validator', () => {
  it.each([
    ['64 hex digits', `${SEED}\n`],
    ['what the miner kit writes', JSON.stringify({ address, seed: SEED })],
    ['what bittensor writes', JSON.stringify({ ss58Address: address, secretSeed: `0x${SEED}` })],
  ])('is read from a file with %s', async (_what, text) => {
    expect((await loadHotkey({ keyFile: await file(text) }))?.address).toBe(address);
  });

  it('is read from the environment, and need not be there', async () => {
    expect((await loadHotkey({ seed: SEED }))?.address).toBe(address);
    expect(await loadHotkey({})).toBeUndefined();
  });

  it('is refused with the remedy and without the secret', async () => {
    const cases: [Parameters<typeof loadHotkey>[0], RegExp][] = [
      [{ keyFile: await file('$NACL…') }, /holds no seed.*without a password/],
      [{ keyFile: join(directory, 'none') }, /there is no key file/],
      [{ seed: `${SEED}ff` }, /VALIDATOR_SEED has to be 64 hex digits/],
      [{ seed: SEED, keyFile: 'x' }, /give one of them/],
    ];
    for (const [place, problem] of cases) {
      const refusal = await loadHotkey(place).catch((error: unknown) => error as Error);
      expect(refusal).toBeInstanceOf(KeyUnusable);
      expect((refusal as Error).message).toMatch(problem);
      expect((refusal as Error).message).not.toContain('abab');
    }
  });
});
