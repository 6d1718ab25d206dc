import 'reflect-metadata';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { installLifecycle } from '@studio/shared/platform/lifecycle';
import { createLogger } from '@studio/shared/platform/logger';
import { boot, type RunningAuditor } from './boot';
import { AuditorEnv } from './env';

/** A loop's current run may be waiting for the querier or the registry, 5 s at most. */
const GRACE_MS = 10_000;

const env = loadEnvOrExit(AuditorEnv);
const log = createLogger({
  name: 'auditor',
  level: env.LOG_LEVEL,
  format: env.NODE_ENV === 'production' ? 'json' : 'line',
});
const booting = new AbortController();
let auditor: RunningAuditor | undefined;

installLifecycle({
  log,
  graceMs: GRACE_MS,
  close: async () => {
    booting.abort();
    // Undefined while it waits for its servers: nothing has begun that would have to end.
    await auditor?.close();
  },
});

boot(env, log, booting.signal).then(
  (running) => {
    auditor = running;
    log.info({ url: running.url }, 'auditor is ready');
  },
  (error: unknown) => {
    // Anything but our own abort is a fault that the lifecycle reports: it ends the process with a message.
    if (!booting.signal.aborted) throw error;
  },
);
