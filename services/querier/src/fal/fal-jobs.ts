import { StudioError } from '@studio/shared/domain/errors';
import { isTerminal } from '@studio/shared/domain/job-state';
import { validate as isUuid } from 'uuid';
import type { Cancellations } from '../cancellations';
import type { FinishedWatch } from '../finished-watch';
import type { JobStore, StoredJob } from '../job.store';
import type { JobViews } from '../job-view';
import type { Submissions } from '../submit';
import { inFalNames, outputOf, toRequest, type FalApp } from './fal-apps';
import type { FalFiles } from './fal-files';
import { statusOf, urlsOf, type FalStatus } from './fal-status';

export interface FalJobParts {
  submissions: Pick<Submissions, 'submit'>;
  jobs: Pick<JobStore, 'find'>;
  views: JobViews;
  finished: Pick<FinishedWatch, 'wait'>;
  cancellations: Pick<Cancellations, 'cancel'>;
  files: Pick<FalFiles, 'resolve'>;
  publicUrl: string;
}

/** Between two looks at a job that somebody follows. */
const LOOK_MS = 500;
/** Proxies cut idle connections after 60 s and more. */
const PING_LOOKS = 20;

/** Jobs of fal's apps: handed in, followed, taken back. */
export class FalJobs {
  private readonly closing = new AbortController();

  constructor(private readonly parts: FalJobParts) {}

  /** Ends everybody who follows a job: open replies would hold up the process's end. */
  close(): void {
    this.closing.abort();
  }

  /** @throws StudioError with fal's names of the fields. */
  async submit(app: FalApp, clientId: string, body: unknown, idempotencyKey: string | null): Promise<StoredJob> {
    const { submissions, files } = this.parts;
    try {
      const request = await files.resolve(clientId, toRequest(app, body));
      // Links to files are signed anew each time.
      return await submissions.submit(clientId, request, idempotencyKey, { app: app.id, body });
    } catch (error) {
      throw inFalNames(error);
    }
  }

  /** Undefined for another client's job, and for one of another app. */
  async find({ kind, engine }: FalApp, clientId: string, id: string): Promise<StoredJob | undefined> {
    const job = isUuid(id) ? await this.parts.jobs.find(clientId, id) : undefined;
    return job?.kind === kind && job.engine === engine ? job : undefined;
  }

  status(app: FalApp, job: StoredJob, withLogs: boolean): FalStatus {
    return statusOf(job, urlsOf(this.parts.publicUrl, app, job.id), withLogs);
  }

  /** @throws StudioError NOT_FINISHED, JOB_FAILED, JOB_EXPIRED, JOB_CANCELLED */
  output(job: StoredJob): object {
    return outputOf(job, this.parts.views);
  }

  /**
   * Each status that differs from the one before, with the logs that are new; null now and then, while nothing changes. Ends after
   * the job, or when the reader goes.
   */
  async *statuses(
    app: FalApp,
    first: StoredJob,
    clientId: string,
    reader: AbortSignal,
  ): AsyncGenerator<FalStatus | null> {
    let [told, before, looks] = [0, '', 0];
    for (
      let job: StoredJob | undefined = first;
      job && !this.isOver(reader);
      job = await this.next(app, job, clientId)
    ) {
      const status = this.status(app, job, true);
      const shown = JSON.stringify(status);
      if (shown !== before) yield { ...status, logs: status.logs.slice(told) };
      else if ((looks += 1) % PING_LOOKS === 0) yield null;
      [told, before] = [status.logs.length, shown];
      if (isTerminal(job.state)) return;
      await this.parts.finished.wait(job.id, LOOK_MS);
    }
  }

  /** The finished job; taken back when the reader goes before. @throws StudioError JOB_CANCELLED when it did. */
  async finished(app: FalApp, first: StoredJob, clientId: string, reader: AbortSignal): Promise<StoredJob> {
    let job = first;
    while (!isTerminal(job.state)) {
      if (reader.aborted) {
        await this.parts.cancellations.cancel(clientId, job.id).catch(() => undefined);
        throw new StudioError('JOB_CANCELLED', 'the client has gone');
      }
      if (this.closing.signal.aborted)
        throw new StudioError('DEPENDENCY_DOWN', `the service restarts: request ${job.id} goes on, ask for its result`);
      await this.parts.finished.wait(job.id, LOOK_MS);
      job = (await this.next(app, job, clientId)) ?? job;
    }
    return job;
  }

  cancel(clientId: string, id: string): Promise<void> {
    return this.parts.cancellations.cancel(clientId, id);
  }

  private isOver(reader: AbortSignal): boolean {
    return reader.aborted || this.closing.signal.aborted;
  }

  private next(app: FalApp, { id }: StoredJob, clientId: string): Promise<StoredJob | undefined> {
    return this.find(app, clientId, id);
  }
}
