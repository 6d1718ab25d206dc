import { JSONCodec, type Msg, type NatsConnection, type Subscription } from 'nats';
import type { AppendLedgerCommand } from '../contract/ledger';
import { SUBJECTS } from '../contract/subjects';
import type { SubmitJobCommand } from '../contract/submit-job';
import { isStudioError } from '../domain/errors';
import type { FinishedJobs, JobToFinish } from './finished-jobs';

const json = JSONCodec<unknown>();

/** Answers a command in the wire form of Nest's transport. A handler that returns `silence` gives no answer. */
export const silence = Symbol('no answer');

export function answer<T>(
  connection: NatsConnection,
  subject: string,
  handle: (body: T) => Promise<unknown>,
): Subscription {
  const reply = async (message: Msg): Promise<void> => {
    const { id, data } = json.decode(message.data) as { id: string; data: T };
    try {
      const response = await handle(data);
      if (response !== silence) message.respond(json.encode({ response, isDisposed: true, id }));
    } catch (error) {
      const err = isStudioError(error) ? error.toBody().error : 'Internal server error';
      message.respond(json.encode({ err, isDisposed: true, id }));
    }
  };
  return connection.subscribe(subject, { callback: (_error, message) => void reply(message) });
}

/** What becomes of a submitted job: who does it and how, `never` to leave it running. */
export type Worker = (command: SubmitJobCommand) => Omit<JobToFinish, 'requestKey'> | 'never';

/** In place of the querier: a submitted job is finished at once, as `worker` says; the same key gives the same job. */
export class StandInQuerier {
  readonly commands: SubmitJobCommand[] = [];
  private readonly subscription: Subscription;
  /** One command after the other: two with the same key at the same time are one job. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly connection: NatsConnection,
    private readonly jobs: FinishedJobs,
    public worker: Worker,
  ) {
    this.subscription = answer<SubmitJobCommand>(connection, SUBJECTS.submitJob.subject, (command) => {
      this.commands.push(command);
      const answered = this.turn.then(() => this.submit(command));
      this.turn = answered.catch(() => undefined);
      return answered;
    });
  }

  private async submit(command: SubmitJobCommand): Promise<unknown> {
    const work = this.worker(command);
    const known = await this.jobs.jobOfRequest(command.idempotencyKey);
    if (known) return { jobId: known, state: 'succeeded' };
    if (work === 'never') return silence;
    const { kind, engine, input, idempotencyKey } = command;
    const jobId = await this.jobs.finish({ kind, engine, input, ...work, requestKey: idempotencyKey });
    this.connection.publish(SUBJECTS.jobFinished.subject, json.encode({}));
    return { jobId, state: work.state ?? 'succeeded' };
  }

  close(): void {
    this.subscription.unsubscribe();
  }
}

/** In place of the registry: appends what it is sent, under the real rules. `before` may throw or return `silence`. */
export class StandInRegistry {
  readonly batches: AppendLedgerCommand['entries'][] = [];
  /** Called before (and after) the entries are appended; `silence` after it is an acknowledgement that gets lost. */
  before: (entries: AppendLedgerCommand['entries']) => unknown = () => undefined;
  after: (entries: AppendLedgerCommand['entries']) => unknown = () => undefined;
  private readonly subscription: Subscription;

  constructor(connection: NatsConnection, jobs: FinishedJobs) {
    this.subscription = answer<AppendLedgerCommand>(connection, SUBJECTS.appendLedger.subject, async ({ entries }) => {
      this.batches.push(entries);
      if (this.before(entries) === silence) return silence;
      const seqs = await jobs.appendLedger(entries);
      return this.after(entries) === silence ? silence : { seqs };
    });
  }

  close(): void {
    this.subscription.unsubscribe();
  }
}
