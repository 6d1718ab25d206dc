import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CALLBACK_SECRET_HEADER, type MinerCallback } from '@studio/shared/contract/miner-job';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';
import { request } from 'undici';
import type { ResultForm } from './result-form';

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;

export interface Delivery {
  callback: MinerCallback;
  form: ResultForm;
  /** Who sent the job, signed: the callback is signed for it. Unsigned jobs get unsigned callbacks. */
  orchestrator?: string;
  hotkey: Hotkey;
  /** Called before each try but the first. */
  retrying?: () => void;
}

/**
 * Delivers a result until the orchestrator has answered for good or `signal` aborts (the attempt's time is over).
 * Resolves with the final status: 2xx is delivered, 4xx says that nobody wants it any more (late, cancelled, unknown).
 * No answer, 429 and 5xx are temporary: an orchestrator that restarts must not cost a miner its work.
 */
export async function deliver(delivery: Delivery, signal: AbortSignal): Promise<number> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const status = await post(delivery, signal);
    if (status !== undefined && status !== 429 && status < 500) return status;
    await sleep(pause, undefined, { signal });
    delivery.retrying?.();
  }
}

async function post(delivery: Delivery, signal: AbortSignal): Promise<number | undefined> {
  const { callback, form } = delivery;
  try {
    const { statusCode, body } = await request(callback.url, {
      method: 'POST',
      headers: {
        'content-type': form.contentType,
        [CALLBACK_SECRET_HEADER]: callback.secret,
        ...signature(delivery),
      },
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

/** Afresh for every try: a nonce counts once, and a timestamp for ten seconds. */
function signature({ callback, form, orchestrator, hotkey }: Delivery): Record<string, string> {
  if (!orchestrator) return {};
  const { pathname, search } = new URL(callback.url);
  return signRequest(
    {
      method: 'POST',
      path: pathname + search,
      body: form.body,
      nowMs: Date.now(),
      nonce: randomUUID(),
      recipient: orchestrator,
    },
    hotkey,
  );
}
