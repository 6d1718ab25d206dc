/**
 * Projects compiled as their images are, for a process of a test's own: compiled while it loads, the compiler alone would
 * take up to 580 MiB of what is measured.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(__dirname, '../../../..');

/**
 * @param projects folders from the root, such as `libs/shared`, with all the workspace projects that they import.
 * @returns a folder below the root, where installed packages are found; the caller removes it. Programs in it import the
 * projects by their names.
 */
export function buildProjects(projects: readonly string[]): string {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, '.cache/built-'));
  const swc = join(ROOT, 'node_modules/@swc/cli/bin/swc.js');
  for (const project of projects) {
    const home = join(ROOT, project);
    const { name } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { name: string };
    const built = join(folder, 'node_modules', name);
    const options = ['--strip-leading-paths', '--config-file', join(ROOT, '.swcrc'), '--quiet'];
    execFileSync(process.execPath, [swc, 'src', '-d', join(built, 'dist'), ...options], { cwd: home });
    copyFileSync(join(home, 'package.json'), join(built, 'package.json'));
  }
  return folder;
}
