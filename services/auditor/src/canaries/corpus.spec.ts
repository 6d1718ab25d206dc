import { cp, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { readCorpus } from './corpus';

const PHOTOS = join(__dirname, '../../../../photos');

describe('the corpus of canaries', () => {
  let directory: string;
  const warn = jest.fn();
  const log = { warn, info: () => undefined };
  const warnings = (): string[] => warn.mock.calls.map(([text]) => String(text));

  beforeEach(async () => {
    warn.mockClear();
    directory = await mkdtemp(join(tmpdir(), 'corpus-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('comes with the repository: photographs, and prompts of many kinds, without a complaint', async () => {
    const corpus = await readCorpus(PHOTOS, log);
    expect(corpus.photographs.map((file) => basename(file))).toEqual(['chelsea.png', 'coffee.png', 'rocket.jpg']);
    expect(new Set(corpus.prompts).size).toBeGreaterThanOrEqual(60);
    expect(corpus.loras).toEqual([]);
    expect(warnings()).toEqual([]);
  });

  it('does without files that cannot be used, and names each with the remedy in one line', async () => {
    await cp(join(PHOTOS, 'rocket.jpg'), join(directory, 'good.JPG'));
    await cp(join(PHOTOS, 'chelsea.png'), join(directory, 'cut.png'));
    await truncate(join(directory, 'cut.png'), 100_000);
    await writeFile(join(directory, 'text.webp'), 'no picture at all');
    await writeFile(join(directory, 'notes.md'), 'left alone');
    await writeFile(join(directory, 'prompts.txt'), `# kinds\n\n  a cat  \r\n${'x'.repeat(4_001)}\na dog\n`);
    const lora = 'ab'.repeat(32);
    await writeFile(join(directory, 'loras.txt'), `${lora}\nmy-lora.safetensors\n`);
    const corpus = await readCorpus(directory, log);
    expect(corpus).toEqual({
      photographs: [join(directory, 'good.JPG')],
      prompts: ['a cat', 'a dog'],
      loras: [lora],
    });
    const about = (name: string): string[] => warnings().filter((line) => line.includes(name));
    for (const name of ['cut.png', 'text.webp']) {
      expect(about(name)).toEqual([expect.stringMatching(/: it cannot be opened \(.*\); replace or remove it$/)]);
    }
    expect(about('loras.txt')).toEqual([expect.stringMatching(/"my-lora\.safetensors" is no SHA-256; write/)]);
    expect(warnings()).toHaveLength(3);
  });

  it('is empty with one warning that says what to do when its directory is not there', async () => {
    const corpus = await readCorpus(join(directory, 'nowhere'), log);
    expect(corpus).toEqual({ photographs: [], prompts: [], loras: [] });
    expect(warnings()).toEqual([
      expect.stringMatching(/no canaries: CANARY_CORPUS is .*nowhere.*give CANARY_CORPUS a directory/),
    ]);
  });

  it('says which kind of canaries an empty directory cannot give', async () => {
    await readCorpus(directory, log);
    expect(warnings().map((line) => line.split(':')[0])).toEqual([
      'no canaries for training',
      'no canaries for inference',
    ]);
  });
});
