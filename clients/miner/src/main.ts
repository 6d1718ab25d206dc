import 'reflect-metadata';
import { join } from 'node:path';
import pino from 'pino';
import { EnvError, minerEnv } from './env';
import { startMiner } from './miner';

/** sysexits.h: the configuration is wrong; a fault of ours. */
const EX_CONFIG = 78;
const EX_SOFTWARE = 70;
/** Work in flight is on disk or will be asked for again: there is nothing to wait long for. */
const GRACE_MS = 5_000;

async function main(): Promise<void> {
  const env = minerEnv();
  const log = pino({ name: env.MINER_NAME, level: env.LOG_LEVEL });
  const miner = await startMiner(env, { filename: join(__dirname, 'engine-worker.js') }, log);
  let closing = false;
  const end = (reason: string): void => {
    if (closing) return;
    closing = true;
    log.info({ reason }, 'closing');
    setTimeout(() => process.exit(EX_SOFTWARE), GRACE_MS).unref();
    miner.close().then(
      () => process.exit(0),
      () => process.exit(EX_SOFTWARE),
    );
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  // A launcher that was killed cannot send signals: its closed channel says the same.
  if (process.connected) process.on('disconnect', () => end('parent is gone'));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof EnvError || !(error instanceof Error) ? String(error) : error.stack}\n`);
  process.exit(error instanceof EnvError ? EX_CONFIG : EX_SOFTWARE);
});
