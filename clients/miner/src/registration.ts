import { setTimeout as sleep } from 'node:timers/promises';
import type { MinerRegistration } from '@studio/shared/contract/miners';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import type { Logger } from 'pino';
import { RegistryClient } from './registry-client';

/** Often enough that a registry restored from an older backup knows us again soon. */
const REPEAT_MS = 60_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;

export interface RegistrationParts {
  registryUrl: string;
  hotkey: Hotkey;
  registration: MinerRegistration;
  log: Logger;
  /** Told the orchestrator's hotkey before every registration. */
  learned(orchestrator: string): Promise<void>;
  tried(registered: boolean): void;
}

/** Registers now and every minute until `signal` aborts; while the registry does not answer, sooner. */
export async function keepRegistered(parts: RegistrationParts, signal: AbortSignal): Promise<void> {
  const registry = new RegistryClient(parts.registryUrl, parts.hotkey, signal);
  let retry = FIRST_RETRY_MS;
  let last = '';
  while (!signal.aborted) {
    const outcome = await attempt(registry, parts, signal);
    // Once per change: a registry that is away for an hour is one line, not thousands.
    if (outcome !== last && !signal.aborted)
      parts.log[outcome === 'registered' ? 'info' : 'warn']({ outcome }, 'registration');
    last = outcome;
    const pause = outcome === 'registered' ? REPEAT_MS : retry;
    retry = outcome === 'registered' ? FIRST_RETRY_MS : Math.min(2 * retry, LONGEST_RETRY_MS);
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}

/** `registered`, or the complaint. */
async function attempt(registry: RegistryClient, parts: RegistrationParts, signal: AbortSignal): Promise<string> {
  try {
    const orchestrator = await registry.identity();
    // Before registering: the first job may come at once, and a miner that does not know its sender refuses it.
    await parts.learned(orchestrator);
    await registry.register(parts.registration, orchestrator);
    parts.tried(true);
    return 'registered';
  } catch (error) {
    if (!signal.aborted) parts.tried(false);
    return error instanceof Error ? error.message : 'failed';
  }
}
