/** What the checks know about the tree: its files as Git sees them (tracked or new, not ignored, not deleted). */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

export const root = resolve(import.meta.dirname, '../..');

/** @returns {string[]} paths from the root, sorted */
export function listFiles() {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const files = listed.split('\0').filter((file) => file !== '' && existsSync(join(root, file)));
  return [...new Set(files)].sort();
}

/** @param {string} file path from the root */
export const readText = (file) => readFileSync(join(root, file), 'utf8');

/** @param {string} file path from the root */
export const readJson = (file) => JSON.parse(readText(file));

/** Whether `moduleUrl` is the script Node was started with, rather than one imported by a spec. */
export const isEntryPoint = (moduleUrl) =>
  process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === moduleUrl;

/** Prints the problems, one a line, and sets the exit status. */
export function report(problems) {
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
