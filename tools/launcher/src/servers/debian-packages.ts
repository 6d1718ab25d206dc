import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ProgressLog } from './running-server';
import { inspect, type BinaryFinder } from './server-binary';

/**
 * Servers fetched from the distribution's own archive without root: `apt-get download` with lists of its own, checked
 * by apt's signatures, unpacked (not installed) with `dpkg -x` into the cache. About 3 s once on a 50 Mbit/s line.
 */
const run = promisify(execFile);

/** A mirror that hangs must end in the message that names the missing server, not in a start that never ends. */
const APT_TIMEOUT_MS = 120_000;

/** Only libraries are fetched along with a server: the rest of its dependencies (adduser …) serves its installation. */
const LIBRARY = /^(lib|lua)/;

/** Lists of one process, shared by the servers it fetches. */
const listsByCache = new Map<string, Promise<string>>();

export interface DebianPackages {
  /** The first names the place in the cache. */
  packages: [string, ...string[]];
  /** Path of the server inside the unpacked packages. */
  program: string;
}

/** Finds `program` in Debian's or Ubuntu's archive, fetching it unless the cache has it. */
export function binaryFromDebian(wanted: DebianPackages, cacheDir: string, log: ProgressLog): BinaryFinder {
  return async () => {
    const root = join(cacheDir, 'debian', release(), wanted.packages[0]);
    if (!existsSync(root)) {
      try {
        await fetchPackages(wanted.packages, root, cacheDir, log);
      } catch (error) {
        return { binaries: [], refused: `apt-get download ${wanted.packages.join(' ')}: ${reason(error)}` };
      }
    }
    const libraries = libraryDirs(root);
    const env: Record<string, string> = libraries.length > 0 ? { LD_LIBRARY_PATH: libraries.join(':') } : {};
    const binary = await inspect(join(root, wanted.program), 'debian', env);
    return binary
      ? { binaries: [binary] }
      : { binaries: [], refused: `${wanted.packages[0]} of this distribution does not run here (${root})` };
  };
}

/** Packages of one release and processor do not run on another: a shared cache keeps them apart. */
function release(): string {
  let text = '';
  try {
    text = readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Not a Linux with os-release: there is no apt either, and fetching says so.
  }
  return `${/^VERSION_CODENAME=(\S+)/m.exec(text)?.[1] ?? process.platform}-${process.arch}`;
}

async function fetchPackages(
  packages: [string, ...string[]],
  root: string,
  cacheDir: string,
  log: ProgressLog,
): Promise<void> {
  mkdirSync(join(root, '..'), { recursive: true });
  const name = packages[0];
  log(`fetching ${name} from the distribution's archive (once, kept in ${cacheDir})`);
  const options = await aptLists(cacheDir);
  const work = mkdtempSync(join(root, '..', `.${name}-`));
  try {
    const files = [...packages, ...(await missingLibraries(packages, options))];
    await run('apt-get', [...options, 'download', ...files], { cwd: work, timeout: APT_TIMEOUT_MS });
    const unpacked = join(work, 'root');
    for (const file of readdirSync(work).filter((entry) => entry.endsWith('.deb'))) {
      await run('dpkg', ['-x', file, unpacked], { cwd: work });
    }
    // The rename makes it whole or absent for everyone; losing the race to another process is as good as winning it.
    if (!existsSync(root)) renameSync(unpacked, root);
  } catch (error) {
    if (!existsSync(root)) throw error;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Options that point apt at lists of our own, freshly updated. The lists go when this process exits. */
function aptLists(cacheDir: string): Promise<string[]> {
  const known = listsByCache.get(cacheDir) ?? updateLists(cacheDir);
  listsByCache.set(cacheDir, known);
  return known.then(aptOptions);
}

async function updateLists(cacheDir: string): Promise<string> {
  const state = mkdtempSync(join(cacheDir, 'apt-'));
  process.once('exit', () => rmSync(state, { recursive: true, force: true }));
  for (const dir of ['lists/partial', 'archives/partial']) mkdirSync(join(state, dir), { recursive: true });
  writeFileSync(join(state, 'status'), '');
  // One third-party source that does not answer fails the whole update, though the needed lists are there: go on, the
  // download tells.
  await run('apt-get', [...aptOptions(state), 'update'], { timeout: APT_TIMEOUT_MS }).catch((error: Error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error;
  });
  return state;
}

function aptOptions(state: string): string[] {
  const settings = [
    `Dir::State=${state}`,
    `Dir::State::Lists=${join(state, 'lists')}`,
    `Dir::State::status=${join(state, 'status')}`,
    `Dir::Cache=${state}`,
    'APT::Sandbox::User=', // apt as root drops to `_apt`, which may not enter the cache
    'Debug::NoLocking=true', // the system's lock belongs to root
    'Acquire::Languages=none',
    // Icons and descriptions for desktop shops: a third of the bytes of an update.
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::IndexTargets::deb::CNF::DefaultEnabled=false',
  ];
  return settings.flatMap((setting) => ['-o', setting]);
}

/** The libraries that packages need, directly or through other libraries, that this machine does not have. */
async function missingLibraries(packages: string[], options: string[]): Promise<string[]> {
  const installed = await installedPackages();
  const missing = new Set<string>();
  for (let level = packages; level.length > 0;) {
    const { stdout } = await run('apt-cache', [...options, 'depends', '--important', ...level]);
    level = firstAlternatives(stdout, installed).filter((library) => !missing.has(library));
    for (const library of level) missing.add(library);
  }
  return [...missing];
}

async function installedPackages(): Promise<Set<string>> {
  const { stdout } = await run('dpkg-query', ['-W', '-f', '${db:Status-Status} ${Package}\\n'], { maxBuffer: 1e8 });
  const lines = stdout.split('\n').filter((line) => line.startsWith('installed '));
  return new Set(lines.map((line) => line.slice('installed '.length)));
}

/**
 * Library dependencies to fetch, read from `apt-cache depends`: ` |Depends: a` and `  Depends: b` are alternatives, of
 * which the first is taken unless one is installed.
 */
export function firstAlternatives(listing: string, installed: ReadonlySet<string>): string[] {
  const chosen = new Set<string>();
  let alternatives: string[] = [];
  for (const line of listing.split('\n')) {
    const match = /^ ([ |])(?:Pre)?Depends: (\S+)$/.exec(line);
    if (!match) continue;
    alternatives.push(match[2]!);
    if (match[1] === '|') continue;
    const first = alternatives[0]!;
    if (LIBRARY.test(first) && !alternatives.some((name) => installed.has(name))) chosen.add(first);
    alternatives = [];
  }
  return [...chosen];
}

function libraryDirs(root: string): string[] {
  const parents = [join(root, 'usr/lib'), join(root, 'lib')].filter((dir) => existsSync(dir));
  return parents.flatMap((parent) =>
    readdirSync(parent)
      .filter((entry) => entry.includes('-linux-'))
      .map((entry) => join(parent, entry)),
  );
}

function reason(error: unknown): string {
  const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === 'ENOENT') return 'there is no apt on this system';
  return (stderr?.trim().split('\n').at(-1) || message).trim();
}
