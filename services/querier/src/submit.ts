/** A job enters: over HTTP from a client, over NATS from the auditor. Both by the same door. */
import type { QuoteView } from '@studio/shared/contract/job-view';
import { HOUSE_CLIENT_ID, type SubmitJobCommand } from '@studio/shared/contract/submit-job';
import { isStudioError, StudioError } from '@studio/shared/domain/errors';
import type { Engine, JobInput, JobKind, Presentation, RoutingRule } from '@studio/shared/domain/job';
import { DEADLINE_TIMEOUTS, findTaskKind, type TaskKind } from '@studio/shared/domain/task-kinds';
import { canonicalHash } from '@studio/shared/protocol/canonical';
import { v7 as uuidv7 } from 'uuid';
import type { DialectOf } from './dialects/dialects';
import type { Estimates } from './estimates';
import { houseFiles } from './input-files';
import { fieldError, planJob, type InputFiles, type JobPlan } from './job-input';
import type { JobStore, NewJob, StoredJob } from './job.store';
import type { MinerDirectory } from './routing/miner-directory';
import { webhookOf, type UrlJudge, type WebhookForm } from './webhooks/webhook-url';

/** Visible ASCII and spaces: what a header can carry unchanged. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,128}$/;

export interface Door {
  sent?: unknown;
  presentation?: Presentation;
  /** Whose words a webhook has. */
  webhookForm?: WebhookForm;
}

export class Submissions {
  constructor(
    private readonly jobs: JobStore,
    private readonly directory: MinerDirectory,
    private readonly files: InputFiles,
    private readonly dialectOf: DialectOf,
    private readonly estimates: Estimates,
    private readonly egress: UrlJudge,
  ) {}

  /**
   * @param door what a door of its own knows of the request: what the client sent before it was put into our words (a repetition is
   * known by it), and how it wants its images.
   * @throws StudioError naming the field and the remedy; nothing is stored then.
   */
  async submit(clientId: string, body: unknown, idempotencyKey: string | null, door: Door = {}): Promise<StoredJob> {
    if (idempotencyKey !== null && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
      throw fieldError('INVALID_INPUT', 'Idempotency-Key', 'has to be 1 to 128 printable ASCII characters');
    }
    const requestHash = canonicalHash(door.sent ?? body ?? null);
    const plan = planJob(body);
    const webhook = webhookOf(plan.webhookUrl, door.webhookForm ?? 'v1', this.egress);
    return this.orEarlier(clientId, idempotencyKey, requestHash, async () => {
      const prepared = await this.prepare(plan, this.files, {});
      return { clientId, idempotencyKey, requestHash, presentation: door.presentation ?? null, webhook, ...prepared };
    });
  }

  /** What would become of this job now. No job is stored; its photograph is, for a while. @throws StudioError as `submit`. */
  async quote(body: unknown): Promise<QuoteView> {
    const { task, input, deadlineS } = await this.prepare(planJob(body), this.files, {});
    const { kind, engine } = task;
    const timeoutMs = task.timeoutMs(input);
    const queued = await this.jobs.countWaiting(kind, engine);
    return {
      kind,
      engine,
      ...this.estimates.capacity(kind, engine),
      queued,
      eta: this.estimates.of(kind, engine, { ahead: queued, timeoutMs, elapsedMs: 0 }),
      timeout_seconds: timeoutMs / 1_000,
      deadline_seconds: deadlineS ?? (DEADLINE_TIMEOUTS * timeoutMs) / 1_000,
    };
  }

  /** The auditor's: the stored input of an earlier job, asked for again, or a request in a client's words. */
  async submitCommand({ idempotencyKey, kind, engine, input, request, routing }: SubmitJobCommand): Promise<StoredJob> {
    const rule: RoutingRule = { ...routing };
    const asked = input === undefined ? { request } : { input };
    const requestHash = canonicalHash({ kind, engine, ...asked, routing: rule });
    const plan = input === undefined ? planJob({ kind, engine, input: request }) : storedPlan(kind, engine, input);
    return this.orEarlier(HOUSE_CLIENT_ID, idempotencyKey, requestHash, async () => {
      const prepared = await this.prepare(plan, houseFiles(this.files), rule);
      return { clientId: HOUSE_CLIENT_ID, idempotencyKey, requestHash, presentation: null, webhook: null, ...prepared };
    });
  }

  /** What costs nothing is asked first: the photograph of a job that nobody can do is not looked at. */
  private async prepare(plan: JobPlan, files: InputFiles, routing: RoutingRule) {
    const { task, private: isPrivate, deadlineS, startDeadlineS } = plan;
    await this.assertEligible(task, routing);
    if (isPrivate) this.assertReference(task);
    const input = await plan.resolve(files);
    await this.assertEligible(task, routing, input);
    return { task, input, routing, private: isPrivate, deadlineS, startDeadlineS };
  }

  /** A repeated request gets its job even where a new one would be refused: its file's link may have expired since. */
  private async orEarlier(
    clientId: string,
    key: string | null,
    requestHash: string,
    prepare: () => Promise<Prepared>,
  ): Promise<StoredJob> {
    let prepared: Prepared;
    try {
      prepared = await prepare();
    } catch (error) {
      const earlier =
        isStudioError(error) && key !== null ? await this.jobs.findByKey(clientId, key, requestHash) : undefined;
      if (earlier) return earlier;
      throw error;
    }
    const { task, input, ...job } = prepared;
    const { kind, engine } = task;
    return this.jobs.submit({ id: uuidv7(), kind, engine, input, timeoutMs: task.timeoutMs(input), ...job });
  }

  /** Without one, nobody could check what a miner gave: it could be paid for anything. */
  private assertReference({ kind, engine }: TaskKind): void {
    const hasReference = this.directory.every(kind, engine).some(({ miner }) => miner.trusted);
    if (hasReference || !this.directory.isKnown) return;
    const message = `is true, but no reference of ours does ${kind} on ${engine}: send it without, or choose another engine`;
    throw fieldError('INVALID_INPUT', 'private', message);
  }

  /** Without the input: whether anybody does such jobs at all; with it, whether their dialects have words for this one. */
  private async assertEligible({ kind, engine }: TaskKind, routing: RoutingRule, input?: JobInput): Promise<void> {
    const offers = (await this.directory.offersNow(kind, engine, routing)).filter(
      ({ miner }) => input === undefined || this.dialectOf(miner.dialect).canExpress(kind, input),
    );
    // While the registry has not answered yet, the job waits rather than being refused for a fault of ours.
    if (offers.length > 0 || !this.directory.isKnown) return;
    const message = `no registered miner can do this ${kind} on ${engine}: choose another engine or simpler input, or submit when one has joined`;
    throw new StudioError('NO_ELIGIBLE_MINER', message);
  }
}

function storedPlan(kind: JobKind, engine: Engine, input: JobInput): JobPlan {
  const task = findTaskKind(kind, engine);
  if (!task) throw fieldError('UNKNOWN_KIND', 'kind', `${kind} does not exist on ${engine}`);
  return {
    task,
    private: false,
    deadlineS: null,
    startDeadlineS: null,
    webhookUrl: undefined,
    resolve: (files) => files.keep(input).then(() => input),
  };
}

type Prepared = Omit<NewJob, 'id' | 'kind' | 'engine' | 'timeoutMs'> & { task: TaskKind };
