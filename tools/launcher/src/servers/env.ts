import { resolve } from 'node:path';
import type { ServerName } from './running-server';

/** The environment a server process gets: this process's own plus `extra`. */
export function inheritedEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  return { ...process.env, ...extra };
}

/** Directories in which programs are looked up, as the user's shell would. */
export function searchPath(): string {
  return process.env.PATH ?? '';
}

/** Where downloads are kept: `.cache` of the checkout, or STUDIO_CACHE_DIR (several checkouts can share one). */
export function cacheDirectory(root: string): string {
  return resolve(root, process.env.STUDIO_CACHE_DIR || '.cache');
}

/** URL of a server for tests that a developer keeps up between runs. */
export function testServerUrl(name: ServerName): string | undefined {
  return process.env[variableOf(name)] || undefined;
}

/** Tells the tests where a server is. `worker` is Jest's number of the worker that has it for itself. */
export function setTestServerUrl(name: ServerName, url: string, worker?: number): void {
  process.env[worker === undefined ? variableOf(name) : `${variableOf(name)}_${worker}`] = url;
}

/** Tells the tests of one worker the files of the account of its NATS for validators. */
export function setTestScoresFiles(files: object, worker: number): void {
  process.env[`TEST_SCORES_FILES_${worker}`] = JSON.stringify(files);
}

const variableOf = (name: ServerName): string => `TEST_${name.toUpperCase()}_URL`;
