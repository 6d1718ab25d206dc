import { join } from 'node:path';
import pino from 'pino';
import { type Variables, minerEnv } from '../env';
import { loadHotkey } from '../key-file';
import { startMiner } from '../miner';

/** sysexits.h: a fault of ours. */
const EX_SOFTWARE = 70;
/** Work in flight is on disk or will be asked for again: there is nothing to wait long for. */
const GRACE_MS = 5_000;

/** Runs the miner until it is told to end. */
export async function run(variables: Variables): Promise<void> {
  const env = minerEnv(variables);
  const hotkey = await loadHotkey(env);
  const log = pino({ name: env.MINER_NAME, level: env.LOG_LEVEL });
  const threads = { filename: join(__dirname, '..', 'engine-worker.js') };
  const miner = await startMiner({ env, hotkey, threads, log });
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
