import 'reflect-metadata';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EpochView } from '@studio/shared/contract/scores';
import { Commitments } from './commitments';
import { RegistryAway } from './registry-client';

let dir: string;
let said: string[];
let asked: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'commitments-'));
  said = [];
  asked = 0;
});
afterEach(() => rm(dir, { recursive: true }));

const say = (text: string): void => void said.push(text);
const open = (): Promise<Commitments> => Commitments.open(dir, say);

/** A registry in which this epoch is open. */
function sources(epoch: number, commitment: string) {
  const view = { epoch, commitment, state: 'open', opened_at: '', closing_at: null, closed_at: null } as EpochView;
  const currentEpoch = async (): Promise<EpochView> => ((asked += 1), view);
  return { registry: { currentEpoch }, say, signal: new AbortController().signal };
}

it('commitments are remembered across restarts, the first that was seen of each epoch', async () => {
  const before = await open();
  await before.learn(sources(4, 'a4'));
  await before.learn(sources(5, 'a5'), 4);
  const again = await open();
  await again.learn(sources(5, 'another'));
  expect([again.of(3), again.of(4), again.of(5), (await open()).of(5)]).toEqual([undefined, 'a4', 'a5', 'a5']);
  expect(said).toEqual(['the commitment of epoch 5 was a5, now it is another: do not rely on its draws']);
});

it('while an old log is read the registry is asked once', async () => {
  const commitments = await open();
  const of = sources(9, 'a9');
  for (const closed of [1, 2, 3, 7, 8]) await commitments.learn(of, closed);
  expect(asked).toBe(1);
  await commitments.learn(of, 9);
  expect(asked).toBe(2);
});

it('a registry that is away is waited for', async () => {
  const commitments = await open();
  const { registry, ...rest } = sources(2, 'a2');
  const currentEpoch = () => {
    if ((asked += 1) === 1) throw new RegistryAway('http://registry', 'it starts');
    return registry.currentEpoch();
  };
  await commitments.learn({ ...rest, registry: { currentEpoch } });
  expect(commitments.of(2)).toBe('a2');
});

it('a file that cannot be read is set aside, not overwritten', async () => {
  const path = join(dir, 'commitments.json');
  await writeFile(path, '{"version":1,"commit');
  const commitments = await open();
  expect(said[0]).toContain(`${path} cannot be read`);
  await commitments.learn(sources(2, 'a2'));
  expect(await readFile(`${path}.unreadable`, 'utf8')).toBe('{"version":1,"commit');
  expect((await open()).of(2)).toBe('a2');
});
