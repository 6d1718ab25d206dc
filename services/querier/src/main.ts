import 'reflect-metadata';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { installLifecycle } from '@studio/shared/platform/lifecycle';
import { createLogger } from '@studio/shared/platform/logger';
import { boot } from './boot';
import { QuerierEnv } from './env';

/** For the doors and connections, after the jobs' own time. With its default that is below Kubernetes' 30 s. */
const CLOSE_MS = 12_000;

const env = loadEnvOrExit(QuerierEnv);
const log = createLogger({
  name: `querier-${env.ROLE}`,
  level: env.LOG_LEVEL,
  format: env.NODE_ENV === 'production' ? 'json' : 'line',
});
const booting = new AbortController();
const running = boot(env, log, booting.signal);

installLifecycle({
  log,
  graceMs: env.WORKER_GRACE_MS + CLOSE_MS,
  close: async () => {
    booting.abort();
    // Aborted while it waited for the database: nothing is open yet.
    const querier = await running.catch(() => undefined);
    await querier?.close();
  },
});

running.then(
  ({ url }) => log.info({ url, role: env.ROLE }, 'querier is ready'),
  (error: unknown) => {
    // Anything but our own abort is a fault that the lifecycle reports: it ends the process with a message.
    if (!booting.signal.aborted) throw error;
  },
);
