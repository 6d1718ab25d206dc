import { setTimeout as sleep } from 'node:timers/promises';
import { CALLBACK_SECRET_HEADER, type MinerCallback } from '@studio/shared/contract/miner-job';
import { request } from 'undici';
import type { ResultForm } from './result-form';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Delivers a result until the orchestrator has answered for good or `signal` aborts (the attempt's time is over).
 * Resolves with the final status: 2xx is delivered, 4xx says that nobody wants it any more (late, cancelled, unknown).
 * No answer, 429 and 5xx are temporary: an orchestrator that restarts must not cost a miner its work.
 */
export async function deliver(callback: MinerCallback, form: ResultForm, signal: AbortSignal): Promise<number> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const status = await post(callback, form, signal);
    if (status !== undefined && status !== 429 && status < 500) return status;
    await sleep(pause, undefined, { signal });
  }
}

async function post(
  { url, secret }: MinerCallback,
  form: ResultForm,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const { statusCode, body } = await request(url, {
      method: 'POST',
      headers: { 'content-type': form.contentType, [CALLBACK_SECRET_HEADER]: secret },
      body: form.body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    });
    await body.dump();
    return statusCode;
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
