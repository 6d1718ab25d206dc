import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MinerRegistration, RegistryIdentity } from '@studio/shared/contract/miners';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';
import type { Logger } from 'pino';
import { request } from 'undici';

/** Often enough that a registry restored from an older backup knows us again soon. */
const REPEAT_MS = 60_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;
const TIMEOUT_MS = 10_000;

export interface RegistrationParts {
  registryUrl: string;
  hotkey: Hotkey;
  registration: MinerRegistration;
  log: Logger;
}

/** Registers now and every minute until `signal` aborts; while the registry does not answer, sooner. */
export async function keepRegistered(parts: RegistrationParts, signal: AbortSignal): Promise<void> {
  let retry = FIRST_RETRY_MS;
  let last = '';
  while (!signal.aborted) {
    const outcome = await register(parts, signal).catch((error: unknown) =>
      error instanceof Error ? error.message : 'failed',
    );
    // Once per change: a registry that is away for an hour is one line, not thousands.
    if (outcome !== last && !signal.aborted)
      parts.log[outcome === 'registered' ? 'info' : 'warn']({ outcome }, 'registration');
    last = outcome;
    const pause = outcome === 'registered' ? REPEAT_MS : retry;
    retry = outcome === 'registered' ? FIRST_RETRY_MS : Math.min(2 * retry, LONGEST_RETRY_MS);
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}

/** One registration. @throws Error with the registry's complaint. */
async function register(
  { registryUrl, hotkey, registration }: RegistrationParts,
  signal: AbortSignal,
): Promise<'registered'> {
  const base = registryUrl.endsWith('/') ? registryUrl : `${registryUrl}/`;
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const identity = await request(new URL('v1/identity', base), { signal: bounded });
  if (identity.statusCode !== 200) throw new Error(`the registry's identity answers ${identity.statusCode}`);
  const { hotkey: recipient } = (await identity.body.json()) as RegistryIdentity;
  const url = new URL(`v1/miners/${hotkey.address}`, base);
  const body = JSON.stringify(registration);
  const signed = signRequest(
    { method: 'PUT', path: url.pathname, body, nowMs: Date.now(), nonce: randomUUID(), recipient },
    hotkey,
  );
  const headers = { 'content-type': 'application/json', ...signed };
  const reply = await request(url, { method: 'PUT', headers, body, signal: bounded });
  const text = await reply.body.text();
  if (reply.statusCode >= 300) throw new Error(`the registry answers ${reply.statusCode}: ${text.slice(0, 500)}`);
  return 'registered';
}
