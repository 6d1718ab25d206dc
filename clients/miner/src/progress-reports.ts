import { CALLBACK_SECRET_HEADER, type MinerCallback, type MinerProgress } from '@studio/shared/contract/miner-job';
import { request } from 'undici';
import type { Progress } from './craft';

/** What the contract allows (contract/miner-job.ts). */
const LEAST_MS = 1_000;
const TIMEOUT_MS = 5_000;

/**
 * Tells the orchestrator how far an attempt is: a courtesy to the client. Never more than one report at a time, the newest
 * when its turn comes; one that does not arrive is not missed, and a refusal ends them.
 */
export function progressReports({ url, secret }: MinerCallback, signal: AbortSignal): Progress {
  let [isSending, isOver, sentMs] = [false, false, performance.now()];
  const post = async (report: MinerProgress): Promise<void> => {
    const { statusCode, body } = await request(`${url}/progress`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', [CALLBACK_SECRET_HEADER]: secret },
      body: JSON.stringify(report),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    await body.dump();
    isOver = statusCode >= 400 && statusCode < 500;
  };
  return (step, total) => {
    const nowMs = performance.now();
    if (isSending || isOver || signal.aborted || nowMs - sentMs < LEAST_MS) return;
    [isSending, sentMs] = [true, nowMs];
    void post({ step, total })
      .catch(() => undefined)
      .finally(() => (isSending = false));
  };
}
