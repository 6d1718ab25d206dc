import { resolve } from 'node:path';

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

/** URLs under which tests find the servers: set by Jest's global setup, or beforehand by a developer. */
export const TEST_VARIABLES = {
  postgres: 'TEST_POSTGRES_URL',
  nats: 'TEST_NATS_URL',
  redis: 'TEST_REDIS_URL',
} as const;

export function testServerUrl(name: keyof typeof TEST_VARIABLES): string | undefined {
  return process.env[TEST_VARIABLES[name]] || undefined;
}

export function setTestServerUrl(name: keyof typeof TEST_VARIABLES, url: string): void {
  process.env[TEST_VARIABLES[name]] = url;
}
