import { StudioError } from '@studio/shared/domain/errors';
import { isTerminal } from '@studio/shared/domain/job-state';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import { validate as isUuid } from 'uuid';
import type { Cancellations } from '../cancellations';
import type { Estimates } from '../estimates';
import type { FinishedWatch } from '../finished-watch';
import type { JobStore, StoredJob } from '../job.store';
import type { JobViews } from '../job-view';
import type { Submissions } from '../submit';
import type { Adoptions } from './adoptions';
import { inFalNames, outputOf, presentationOf, toRequest, type FalApp } from './fal-apps';
import type { FalFiles } from './fal-files';
import type { FalOptions } from './fal-options';
import { statusOf, urlsOf, type FalStatus } from './fal-status';

export interface FalJobParts {
  submissions: Pick<Submissions, 'submit'>;
  jobs: Pick<JobStore, 'find' | 'countWaiting'>;
  views: JobViews;
  finished: Pick<FinishedWatch, 'wait'>;
  cancellations: Pick<Cancellations, 'cancel'>;
  files: Pick<FalFiles, 'resolve'>;
  store: ArtifactStore;
  adoptions: Adoptions;
  estimates: Pick<Estimates, 'ofJob'>;
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

  /** @throws StudioError with fal's names of the fields; TOO_MANY_REQUESTS where more wait than the client accepts. */
  async submit(app: FalApp, clientId: string, body: unknown, options: FalOptions): Promise<StoredJob> {
    const { submissions, files } = this.parts;
    await this.assertShortQueue(app, options.maxQueueLength);
    try {
      const request = await files.resolve(clientId, toRequest(app, body));
      const told = options.webhook === undefined ? {} : { webhook_url: options.webhook };
      const waits = { ...request, ...options.waits, ...told };
      // Links to files are signed anew each time.
      const sent = { app: app.id, body, ...options.waits, ...told };
      const door = { sent, presentation: presentationOf(app, body), webhookForm: 'fal' } as const;
      return await submissions.submit(clientId, waits, options.idempotencyKey, door);
    } catch (error) {
      throw inFalNames(error);
    }
  }

  /**
   * The same, known again when it is repeated after a reply that could not be written (adoptions.ts).
   * @param unheard aborts when the reply could not be written.
   */
  async submitOnce(
    app: FalApp,
    clientId: string,
    body: unknown,
    options: FalOptions,
    unheard: AbortSignal,
  ): Promise<StoredJob> {
    if (unheard.aborted) throw new StudioError('JOB_CANCELLED', 'the client has gone before its request was looked at');
    const { adoptions, jobs } = this.parts;
    if (options.idempotencyKey !== null) return this.submit(app, clientId, body, options);
    const key = adoptions.key(
      clientId,
      app.id,
      options.webhook === undefined ? body : { body, webhook: options.webhook },
    );
    const earlier = await adoptions.take(key);
    const known = earlier === undefined ? undefined : await jobs.find(clientId, earlier);
    const job = known ? Promise.resolve(known) : this.submit(app, clientId, body, options);
    if (unheard.aborted) adoptions.offer(key, job);
    else unheard.addEventListener('abort', () => adoptions.offer(key, job), { once: true });
    return job;
  }

  private async assertShortQueue({ id, kind, engine }: FalApp, most: number | undefined): Promise<void> {
    if (most === undefined) return;
    const waiting = await this.parts.jobs.countWaiting(kind, engine);
    if (waiting <= most) return;
    const message = `${waiting} requests wait for ${id}, more than fal_max_queue_length=${most}: submit it again later, or allow more`;
    throw new StudioError('TOO_MANY_REQUESTS', message);
  }

  /** Undefined for another client's job, and for one of another app. */
  async find({ kind, engine }: FalApp, clientId: string, id: string): Promise<StoredJob | undefined> {
    const job = isUuid(id) ? await this.parts.jobs.find(clientId, id) : undefined;
    return job?.kind === kind && job.engine === engine ? job : undefined;
  }

  status(app: FalApp, job: StoredJob, withLogs: boolean): FalStatus {
    return statusOf(job, urlsOf(this.parts.publicUrl, app, job.id), withLogs, this.parts.estimates.ofJob(job));
  }

  /** @throws StudioError NOT_FINISHED, JOB_FAILED, JOB_EXPIRED, JOB_CANCELLED */
  async output(job: StoredJob): Promise<object> {
    try {
      return await outputOf(job, this.parts.views, this.parts.store);
    } catch (error) {
      throw inFalNames(error);
    }
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
