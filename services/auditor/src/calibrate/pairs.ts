/** Where pairs of pictures come from: a folder, or a list of paths. What is wrong with them is one sentence with its remedy. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';

/** Two pictures of one job. */
export interface PicturePair {
  /** For messages. */
  name: string;
  /** How it was cheated; undefined for an honest pair. */
  dishonest?: string;
  read(): Promise<[Uint8Array, Uint8Array]>;
}

/** The pairs cannot be used. The message is for whoever prepared them. */
export class PairsError extends Error {
  override readonly name = 'PairsError';
}

const PICTURE = /^([ab])\.(png|jpe?g|webp)$/i;
const DISHONEST = 'dishonest';

/** @throws PairsError when there are none, or one is not whole. */
export async function findPairs(source: string): Promise<PicturePair[]> {
  const found = await stat(source).catch(() => undefined);
  if (!found) throw new PairsError(`${source} does not exist: name the folder or the NDJSON file that holds the pairs`);
  const pairs = found.isDirectory() ? await pairsInFolder(source) : await pairsInList(source);
  if (!pairs.some(({ dishonest }) => dishonest === undefined)) {
    throw new PairsError(`${source} holds no honest pairs: thresholds come from those (--help shows their form)`);
  }
  return pairs;
}

async function pairsInFolder(root: string): Promise<PicturePair[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const folders = new Map<string, Map<string, string>>();
  for (const entry of entries) {
    const letter = entry.isFile() && PICTURE.exec(entry.name)?.[1]?.toLowerCase();
    if (!letter) continue;
    const pictures = folders.get(entry.parentPath) ?? new Map<string, string>();
    folders.set(entry.parentPath, pictures);
    if (pictures.has(letter)) throw new PairsError(`${entry.parentPath} holds two files named ${letter}: keep one`);
    pictures.set(letter, join(entry.parentPath, entry.name));
  }
  return [...folders]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([folder, pictures]) => folderPair(root, folder, pictures));
}

function folderPair(root: string, folder: string, pictures: ReadonlyMap<string, string>): PicturePair {
  const name = relative(root, folder) || '.';
  const [a, b] = [pictures.get('a'), pictures.get('b')];
  if (!a || !b) {
    const missing = a ? 'b' : 'a';
    throw new PairsError(`${folder} holds one picture: add the other as ${missing}.png, or remove the folder`);
  }
  return { name, ...kindOf(name), read: () => readBoth(a, b) };
}

/** dishonest/KIND/NAME, or dishonest/NAME; whatever is not below `dishonest` is honest. */
function kindOf(name: string): { dishonest?: string } {
  const [first, ...rest] = name.split(sep);
  if (first !== DISHONEST) return {};
  return { dishonest: rest.length > 1 ? rest[0]! : DISHONEST };
}

async function pairsInList(file: string): Promise<PicturePair[]> {
  const folder = dirname(resolve(file));
  const lines = (await readFile(file, 'utf8')).split('\n');
  const pairs: PicturePair[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const pair = listedPair(line);
    if (!pair) {
      const form = '{"a":"path","b":"path"}, with "dishonest":"kind" where it is';
      throw new PairsError(`${file}, line ${index + 1} is not a pair: write ${form}`);
    }
    const [a, b] = [resolve(folder, pair.a), resolve(folder, pair.b)];
    pairs.push({
      name: `line ${index + 1}`,
      ...(pair.dishonest !== undefined && { dishonest: pair.dishonest }),
      read: () => readBoth(a, b),
    });
  }
  return pairs;
}

function listedPair(line: string): { a: string; b: string; dishonest?: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { a, b, dishonest } = value as Record<string, unknown>;
  if (typeof a !== 'string' || typeof b !== 'string') return undefined;
  if (dishonest !== undefined && typeof dishonest !== 'string') return undefined;
  return { a, b, ...(dishonest !== undefined && { dishonest }) };
}

function readBoth(a: string, b: string): Promise<[Uint8Array, Uint8Array]> {
  return Promise.all([readPicture(a), readPicture(b)]);
}

async function readPicture(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code = 'unknown' } = error as { code?: string };
    throw new PairsError(`${path} cannot be read (${code}): correct the path, or take the pair out`);
  }
}
