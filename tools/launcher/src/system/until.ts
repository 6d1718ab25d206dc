import { setTimeout as sleep } from 'node:timers/promises';
import type { Supervisor } from './supervisor';

/** Waits until `holds` answers true; what it throws counts as false. Says what it waited for when it gives up. */
export async function until(
  what: string,
  boundMs: number,
  holds: () => Promise<boolean>,
  supervisor: Supervisor,
): Promise<void> {
  const end = performance.now() + boundMs;
  let last: unknown;
  while (performance.now() < end) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`waited ${boundMs / 1000} s until ${what}, in vain; the logs are in ${supervisor.logDir}`, {
    cause: last,
  });
}

export async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}
