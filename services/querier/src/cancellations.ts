import { StudioError } from '@studio/shared/domain/errors';
import type { DialectOf } from './dialects/dialects';
import type { JobStore } from './job.store';
import type { MinerDirectory } from './routing/miner-directory';
import type { Turns } from './routing/turns';

export interface CancellationParts {
  jobs: JobStore;
  directory: MinerDirectory;
  dialectOf: DialectOf;
  turns: Turns;
  onFinished: () => void;
}

export class Cancellations {
  constructor(private readonly parts: CancellationParts) {}

  /** The job is cancelled when this resolves; its miners are told without waiting for them. @throws ALREADY_FINISHED */
  async cancel(clientId: string, id: string): Promise<void> {
    const { jobs, directory, dialectOf, turns, onFinished } = this.parts;
    const { cancelled, attempts } = await jobs.cancel(clientId, id);
    if (!cancelled) throw new StudioError('ALREADY_FINISHED', 'the job is already finished: ask for its result');
    onFinished();
    for (const attempt of attempts) {
      turns.settle({ jobId: id, ...attempt }, 'released');
      const miner = directory.find(attempt.hotkey);
      if (miner) void dialectOf(miner.dialect).cancel(miner, id, attempt.attemptNo);
    }
  }
}
