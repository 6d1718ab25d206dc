import 'reflect-metadata';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { installLifecycle } from '@studio/shared/platform/lifecycle';
import { createLogger } from '@studio/shared/platform/logger';
import { boot } from './boot';
import { RegistryEnv } from './env';

/** Nest's transport needs 1.5 s to let requests finish; the rest is for the sweepers' current runs. */
const GRACE_MS = 10_000;

const env = loadEnvOrExit(RegistryEnv);
const log = createLogger({
  name: 'registry',
  level: env.LOG_LEVEL,
  format: env.NODE_ENV === 'production' ? 'json' : 'line',
});
const booting = new AbortController();
const running = boot(env, log, booting.signal);

installLifecycle({
  log,
  graceMs: GRACE_MS,
  close: async () => {
    booting.abort();
    // Aborted while it waited for the database: nothing is open yet.
    const registry = await running.catch(() => undefined);
    await registry?.close();
  },
});

running.then(
  ({ url, adminUrl }) => log.info({ url, adminUrl }, 'registry is ready'),
  (error: unknown) => {
    // Anything but our own abort is a fault that the lifecycle reports: it ends the process with a message.
    if (!booting.signal.aborted) throw error;
  },
);
