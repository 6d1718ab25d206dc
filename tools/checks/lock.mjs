/**
 * The lock file is what a fresh clone installs. npm can write one that its own `npm ci` rejects (optional binaries of
 * other platforms missing from the registry), and one that only installs from the registry it was written with.
 */
import { spawnSync } from 'node:child_process';
import { isEntryPoint, readJson, report, root } from './repository.mjs';

/**
 * @param {{packages: Record<string, {resolved?: string}>}} lock the content of package-lock.json
 * @returns {string[]} problems
 */
export function lockProblems(lock) {
  return Object.entries(lock.packages)
    .filter(([, { resolved = '' }]) => resolved.includes(':'))
    .map(
      ([path]) => `package-lock.json: "${path}" names a registry: write it with omit-lockfile-registry-resolved=true`,
    );
}

function installProblems() {
  const { status, stderr } = spawnSync('npm', ['ci', '--dry-run', '--ignore-scripts', '--no-progress'], {
    cwd: root,
    encoding: 'utf8',
  });
  return status === 0 ? [] : [`npm ci does not accept package-lock.json:\n${stderr}`];
}

if (isEntryPoint(import.meta.url)) report([...lockProblems(readJson('package-lock.json')), ...installProblems()]);
