import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readdir, realpath } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { inheritedEnv, searchPath } from './env';
import type { ServerName, ServerSource } from './running-server';
import { missingServer } from './server-error';

const run = promisify(execFile);

export interface ServerBinary {
  path: string;
  version: string;
  source: Exclude<ServerSource, 'environment'>;
  /** Added to the environment: where libraries lie that the system does not have. */
  env: Record<string, string>;
}

/** One way to come by a server. Gives the binaries it found, best first, or says in one line why there is none. */
export interface BinaryFinder {
  (): Promise<{ binaries: ServerBinary[]; refused?: string }>;
}

/**
 * The first binary that a finder gives and `accepts` likes; a later finder is asked only when the earlier ones have
 * none, because the last ones download.
 * @throws ServerError `missing` with what was tried and the one command that installs the server.
 */
export async function resolveBinary(
  name: ServerName,
  finders: BinaryFinder[],
  accepts: (binary: ServerBinary) => string | null = () => null,
): Promise<ServerBinary> {
  const tried: string[] = [];
  for (const find of finders) {
    const { binaries, refused } = await find();
    if (refused) tried.push(refused);
    for (const binary of binaries) {
      const objection = accepts(binary);
      if (objection === null) return binary;
      tried.push(`${binary.path} (${binary.version}): ${objection}`);
    }
  }
  throw missingServer(name, tried, process.platform);
}

/** Binaries called `name` on PATH and in the usual places that PATH often lacks, each one that runs. */
export function binariesOnPath(name: string, usualPlaces: string[], path = searchPath()): BinaryFinder {
  return async () => {
    const places = [...new Set([...path.split(delimiter).filter(Boolean), ...usualPlaces])];
    const binaries: ServerBinary[] = [];
    for (const place of places) {
      const binary = await inspect(join(place, name), 'path', {});
      if (binary) binaries.push(binary);
    }
    return {
      binaries,
      refused: binaries.length > 0 ? undefined : `no ${name} on PATH nor in ${usualPlaces.join(', ')}`,
    };
  };
}

/** A binary that exists and tells its version, or null: a broken one (missing libraries) is as good as none. */
export async function inspect(
  path: string,
  source: ServerBinary['source'],
  env: Record<string, string>,
): Promise<ServerBinary | null> {
  try {
    await access(path, constants.X_OK);
    const { stdout } = await run(path, ['--version'], { env: inheritedEnv(env), cwd: '/', timeout: 10_000 });
    const version = /\d+(\.\d+)+/.exec(stdout)?.[0];
    return version ? { path, version, source, env } : null;
  } catch {
    return null;
  }
}

/** Directories `<parent>/<entry>/bin` for entries that match, newest version first. */
export async function versionedBins(parent: string, pattern: RegExp): Promise<string[]> {
  const entries = await readdir(parent).catch(() => []);
  const versionOf = (entry: string): number => Number(/(\d+)$/.exec(entry)?.[1] ?? 0);
  return entries
    .filter((entry) => pattern.test(entry))
    .sort((a, b) => versionOf(b) - versionOf(a))
    .map((entry) => join(parent, entry, 'bin'));
}

/** Objection against versions below `minimum` ("2.9.10"), compared number by number. */
export function atLeast(minimum: string): (binary: { version: string }) => string | null {
  return ({ version }) => (compareVersions(version, minimum) >= 0 ? null : `${minimum} or newer is needed`);
}

export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < Math.max(left!.length, right!.length); i += 1) {
    const difference = (left![i] ?? 0) - (right![i] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

/** A sibling program of the same distribution, such as initdb beside postgres; PATH may hold only links to some. */
export async function besideBinary(binary: ServerBinary, program: string): Promise<string> {
  return join(dirname(await realpath(binary.path)), program);
}
