/**
 * What follows when a result closes a job's attempts, wherever it arrived: the winner's slot is free and its miner holds
 * the LoRA; each loser is told to stop, and nothing is held against it. One that was slower than the kind's p95 has its
 * ramp shrunk: to accept a job and sit on it until a hedge wins is not free.
 */
import type { DialectOf } from './dialects/dialects';
import type { Hedges } from './hedges';
import type { ClosedAttempt } from './result.store';
import type { MinerDirectory } from './routing/miner-directory';
import type { Turns } from './routing/turns';

export interface AttemptEndsParts {
  turns: Turns;
  hedges: Hedges;
  directory: MinerDirectory;
  dialectOf: DialectOf;
}

export function afterResult(attempts: readonly ClosedAttempt[], parts: AttemptEndsParts): void {
  for (const attempt of attempts) {
    if (attempt.won) rewardWinner(attempt, parts);
    else dismissLoser(attempt, parts);
  }
}

function rewardWinner(attempt: ClosedAttempt, { turns, hedges }: AttemptEndsParts): void {
  const { kind, engine, timeoutMs, rawMs } = attempt;
  turns.settle(attempt, 'success', { isSlow: hedges.isSlow(kind, engine, timeoutMs, rawMs ?? 0) });
  if (attempt.lora !== null) turns.holds(attempt.hotkey, attempt.lora);
}

function dismissLoser(attempt: ClosedAttempt, { turns, hedges, directory, dialectOf }: AttemptEndsParts): void {
  const isLate = attempt.elapsedMs > hedges.afterMs(attempt.kind, attempt.engine, attempt.timeoutMs);
  turns.settle(attempt, isLate ? 'late' : 'released');
  const miner = directory.find(attempt.hotkey);
  if (miner) void dialectOf(miner.dialect).cancel(miner, attempt.jobId, attempt.attemptNo);
}
