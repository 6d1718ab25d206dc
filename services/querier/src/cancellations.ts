import { StudioError } from '@studio/shared/domain/errors';
import type { JobStore } from './job.store';
import type { Dialect } from './dialects/dialect';
import type { MinerDirectory } from './routing/miner-directory';

export class Cancellations {
  constructor(
    private readonly jobs: JobStore,
    private readonly directory: MinerDirectory,
    private readonly client: Dialect,
    private readonly onFinished: () => void,
  ) {}

  /** The job is cancelled when this resolves; its miners are told without waiting for them. @throws ALREADY_FINISHED */
  async cancel(clientId: string, id: string): Promise<void> {
    const { cancelled, hotkeys } = await this.jobs.cancel(clientId, id);
    if (!cancelled) throw new StudioError('ALREADY_FINISHED', 'the job is already finished: ask for its result');
    this.onFinished();
    for (const hotkey of hotkeys) {
      const miner = this.directory.find(hotkey);
      if (miner) void this.client.cancel(miner, id, 0);
    }
  }
}
