import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoraFolder } from './lora-folder';

const lora = (letter: string): Buffer => Buffer.alloc(100, letter);
const name = (letter: string): string => `${createHash('sha256').update(lora(letter)).digest('hex')}.safetensors`;

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'loras-'))));
afterEach(() => rm(folder, { recursive: true, force: true }));

async function put(loras: LoraFolder, letter: string): Promise<void> {
  await loras.use(lora(letter), async () => undefined);
}

/** Makes the file the one that was not used for the longest time. */
async function age(letter: string, seconds: number): Promise<void> {
  await utimes(join(folder, name(letter)), seconds, seconds);
}

const present = async (): Promise<string[]> => (await readdir(folder)).sort();

describe('the LoRA folder', () => {
  it('drops the files that were not used for the longest time when there is no more room', async () => {
    const loras = new LoraFolder(folder, 250);
    await put(loras, 'a');
    await put(loras, 'b');
    await age('a', 1_000);
    await age('b', 2_000);
    await put(loras, 'a');
    await put(loras, 'c');
    expect(await present()).toEqual([name('a'), name('c')].sort());
  });

  it('keeps a file that a drawing needs, however old and whatever the room', async () => {
    const loras = new LoraFolder(folder, 150);
    await loras.use(lora('a'), async () => {
      await age('a', 1_000);
      await put(loras, 'b');
      expect(await present()).toContain(name('a'));
    });
    await put(loras, 'c');
    expect(await present()).toEqual([name('c')]);
  });

  it("neither counts nor touches the operator's own files", async () => {
    await writeFile(join(folder, 'style.safetensors'), Buffer.alloc(10_000));
    await utimes(join(folder, 'style.safetensors'), 1, 1);
    const loras = new LoraFolder(folder, 150);
    await put(loras, 'a');
    expect(await present()).toEqual([name('a'), 'style.safetensors'].sort());
  });

  it('writes a file anew that is not whole, or that was away', async () => {
    const loras = new LoraFolder(folder, 1_000);
    await writeFile(join(folder, name('a')), 'torn');
    const editions: number[] = [];
    const note = async ({ edition }: { edition: number }): Promise<void> => void editions.push(edition);
    await loras.use(lora('a'), note);
    await loras.use(lora('a'), note);
    await rm(join(folder, name('a')));
    await loras.use(lora('a'), note);
    expect(editions).toEqual([1, 1, 2]);
  });

  it('leaves nothing behind when the folder cannot be written, and says which it is', async () => {
    const loras = new LoraFolder(join(folder, 'missing'), 1_000);
    await expect(put(loras, 'a')).rejects.toThrow(/cannot be put into MINER_HTTP_LORA_DIR: .*ENOENT/);
    expect(await present()).toEqual([]);
  });
});
