import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ComparisonPool } from '../comparators/comparison-pool';
import { decodePicture } from '../comparators/decode-picture';
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import { demoPairs } from './demo-pairs';
import { measurePairs } from './measure';
import { parseOptions } from './options';
import { PairsError, findPairs } from './pairs';
import { calibrationOf } from './report';

jest.setTimeout(120_000);

const pool = new ComparisonPool({ threads: 1 });
const folders: string[] = [];
afterAll(async () => {
  await pool.close();
  for (const folder of folders) await rm(folder, { recursive: true });
});

/** A folder with these files. */
async function folderOf(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'calibrate-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  return folder;
}

const measure = async (source: string, onMeasured = (): void => undefined) =>
  measurePairs(await findPairs(source), pool, 2, onMeasured);

/** Two honest pictures of one job, and a cheat's of another. */
async function pictures(): Promise<Record<'a' | 'b' | 'honest' | 'cheat', Uint8Array>> {
  const made = await demoPairs(100, 3);
  const [a, b] = await made[0]!.read();
  const [honest, cheat] = await made.find(({ dishonest }) => dishonest === 'mirrored')!.read();
  return { a, b, honest, cheat };
}

describe('pairs in a folder', () => {
  it('are each two pictures in a folder of their own, dishonest ones by kind', async () => {
    const { a, b, honest, cheat } = await pictures();
    const source = await folderOf({
      'honest/job-1/a.png': a,
      'honest/job-1/b.jpg': b,
      'honest/job-1/notes.txt': 'not a picture',
      'dishonest/mirrored/job-2/A.PNG': honest,
      'dishonest/mirrored/job-2/b.webp': cheat,
      'dishonest/job-3/a.png': honest,
      'dishonest/job-3/b.png': cheat,
    });
    let done = 0;
    const measured = await measure(source, () => void done++);
    expect(measured.map(({ name, dishonest }) => [name, dishonest])).toEqual([
      [join('dishonest', 'job-3'), 'dishonest'],
      [join('dishonest', 'mirrored', 'job-2'), 'mirrored'],
      [join('honest', 'job-1'), undefined],
    ]);
    expect(done).toBe(3);
    const { current } = calibrationOf(measured, PERCEPTUAL_THRESHOLDS);
    expect([current.falseFailures.errors, current.missed.mirrored!.errors]).toEqual([0, 0]);
  });

  it('need no folder named honest', async () => {
    const { a, b } = await pictures();
    const source = await folderOf({ 'one/a.png': a, 'one/b.png': b });
    expect((await findPairs(source)).map(({ name, dishonest }) => [name, dishonest])).toEqual([['one', undefined]]);
  });

  it.each<[string, Record<string, string>, string]>([
    ['nothing', {}, 'holds no honest pairs: thresholds come from those'],
    ['only dishonest ones', { 'dishonest/x/a.png': '', 'dishonest/x/b.png': '' }, 'holds no honest pairs'],
    ['one picture', { 'honest/x/a.png': '' }, 'x holds one picture: add the other as b.png, or remove the folder'],
    ['two of a letter', { 'x/a.png': '', 'x/a.jpg': '', 'x/b.png': '' }, 'x holds two files named a: keep one'],
  ])('are refused when there is %s', async (_, files, complaint) => {
    const refused = findPairs(await folderOf(files));
    await expect(refused).rejects.toThrow(complaint);
    await expect(refused).rejects.toBeInstanceOf(PairsError);
  });

  it('are refused where there is no folder', async () => {
    await expect(findPairs('/nowhere/pairs')).rejects.toThrow('/nowhere/pairs does not exist: name the folder or');
  });

  it('are refused when a picture is damaged, and named', async () => {
    const { a } = await pictures();
    const source = await folderOf({ 'honest/job-1/a.png': a, 'honest/job-1/b.png': 'no picture' });
    await expect(measure(source)).rejects.toThrow(
      /^honest.job-1: a picture cannot be compared \(.+\): replace it, or take the pair out$/,
    );
  });

  it('are refused when honest pictures differ in size', async () => {
    const made = await demoPairs(100, 1);
    const [a, b] = await made.find(({ dishonest }) => dishonest === 'a smaller picture')!.read();
    const files = { 'job-1/a.png': a, 'job-1/b.png': b };
    await expect(measure(await folderOf(files))).rejects.toThrow('job-1: the two pictures differ in size');
  });
});

describe('pairs in a list', () => {
  it('are paths relative to the file', async () => {
    const { a, b, honest, cheat } = await pictures();
    const folder = await folderOf({
      'pictures/1.png': a,
      'pictures/2.png': b,
      'pictures/3.png': honest,
      'pictures/4.png': cheat,
      'pairs.ndjson': [
        '{"a":"pictures/1.png","b":"pictures/2.png"}',
        '',
        '{"a":"pictures/3.png","b":"pictures/4.png","dishonest":"mirrored"}',
      ].join('\n'),
    });
    const measured = await measure(join(folder, 'pairs.ndjson'));
    expect(measured.map(({ name, dishonest }) => [name, dishonest])).toEqual([
      ['line 1', undefined],
      ['line 3', 'mirrored'],
    ]);
  });

  it.each(['no JSON', '[]', 'null', '{"a":"x"}', '{"a":"x","b":1}', '{"a":"x","b":"y","dishonest":true}'])(
    'are refused when a line is %s',
    async (line) => {
      const folder = await folderOf({ 'pairs.ndjson': `{"a":"x","b":"y"}\n${line}\n` });
      await expect(findPairs(join(folder, 'pairs.ndjson'))).rejects.toThrow('line 2 is not a pair: write {"a":"path"');
    },
  );

  it('are refused when a file is missing, by its path', async () => {
    const folder = await folderOf({ 'pairs.ndjson': '{"a":"x.png","b":"y.png"}' });
    await expect(measure(join(folder, 'pairs.ndjson'))).rejects.toThrow(
      /[xy]\.png cannot be read \(ENOENT\): correct the path, or take the pair out/,
    );
  });
});

describe('the demonstration', () => {
  it('makes the same pairs from the same seed, and others from another', async () => {
    const bytes = async (seed: number) => (await (await demoPairs(3, seed))[1]!.read()).map((file) => Buffer.from(file).toString('base64')); // prettier-ignore
    expect(await bytes(5)).toEqual(await bytes(5));
    expect(await bytes(5)).not.toEqual(await bytes(6));
  });

  it('makes honest pairs that pass and one dishonest pair of each kind that does not', async () => {
    const made = await demoPairs(30, 4);
    const measured = await measurePairs(made, pool, 2, () => undefined);
    const { pairs, current } = calibrationOf(measured, PERCEPTUAL_THRESHOLDS);
    expect(pairs).toEqual({ honest: 30, dishonest: 10 });
    expect(current.falseFailures.errors).toBe(0);
    expect(Object.entries(current.missed).filter(([, { errors }]) => errors > 0)).toEqual([]);
  });

  it('makes pictures of the sizes that it names', async () => {
    for (const { name, read } of (await demoPairs(5, 2)).slice(0, 5)) {
      const [a] = await read();
      expect(name).toContain(`, ${(await decodePicture(a)).width}² of `);
    }
  });
});

describe('the command line', () => {
  it('takes a source or the demonstration', () => {
    expect(parseOptions(['pairs'])).toEqual({ source: 'pairs', pairs: 3_000, seed: 1, json: false });
    expect(parseOptions(['--demo', '--pairs', '20', '--json'])).toEqual({
      source: undefined,
      pairs: 20,
      seed: 1,
      json: true,
    });
  });

  it.each([
    [[], 'no pairs: name a folder or file of them, or try --demo'],
    [['--demo', 'pairs'], '--demo makes its own pairs: leave out PAIRS, or --demo'],
    [['--demo', '--pairs', '0'], 'It is a whole number from 1.'],
    [['--speed'], "unknown option '--speed'"],
  ])('refuses %j with the remedy', (argv, complaint) => {
    const told = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    expect(() => parseOptions(argv)).toThrow(complaint);
    expect(told.mock.calls.flat().join('')).toContain('--help shows the form that the pairs have');
    told.mockRestore();
  });
});
