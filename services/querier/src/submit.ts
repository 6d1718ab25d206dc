/** A job enters: over HTTP from a client, over NATS from the auditor. Both by the same door. */
import { HOUSE_CLIENT_ID, type SubmitJobCommand } from '@studio/shared/contract/submit-job';
import { isStudioError, StudioError } from '@studio/shared/domain/errors';
import type { JobInput, RoutingRule } from '@studio/shared/domain/job';
import { findTaskKind, type TaskKind } from '@studio/shared/domain/task-kinds';
import { canonicalHash } from '@studio/shared/protocol/canonical';
import { v7 as uuidv7 } from 'uuid';
import type { DialectOf } from './dialects/dialects';
import { fieldError, planJob, type InputFiles } from './job-input';
import type { JobStore, StoredJob } from './job.store';
import type { MinerDirectory } from './routing/miner-directory';

/** Visible ASCII and spaces: what a header can carry unchanged. */
const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,128}$/;

export class Submissions {
  constructor(
    private readonly jobs: JobStore,
    private readonly directory: MinerDirectory,
    private readonly files: InputFiles,
    private readonly dialectOf: DialectOf,
  ) {}

  /** @throws StudioError naming the field and the remedy; nothing is stored then. */
  async submit(clientId: string, body: unknown, idempotencyKey: string | null): Promise<StoredJob> {
    if (idempotencyKey !== null && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
      throw fieldError('INVALID_INPUT', 'Idempotency-Key', 'has to be 1 to 128 printable ASCII characters');
    }
    const requestHash = canonicalHash(body ?? null);
    const plan = planJob(body);
    return this.orEarlier(clientId, idempotencyKey, requestHash, async () => {
      await this.assertEligible(plan.task, {});
      const input = await plan.resolve(this.files);
      await this.assertEligible(plan.task, {}, input);
      return { clientId, idempotencyKey, requestHash, task: plan.task, input, routing: {} };
    });
  }

  /** The stored input of an earlier job, asked for again. */
  async submitCommand({ idempotencyKey, kind, engine, input, routing }: SubmitJobCommand): Promise<StoredJob> {
    const task = findTaskKind(kind, engine);
    if (!task) throw fieldError('UNKNOWN_KIND', 'kind', `${kind} does not exist on ${engine}`);
    const rule: RoutingRule = { ...routing };
    const requestHash = canonicalHash({ kind, engine, input, routing: rule });
    return this.orEarlier(HOUSE_CLIENT_ID, idempotencyKey, requestHash, async () => {
      await this.assertEligible(task, rule, input);
      return { clientId: HOUSE_CLIENT_ID, idempotencyKey, requestHash, task, input, routing: rule };
    });
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

interface Prepared {
  clientId: string;
  idempotencyKey: string | null;
  requestHash: string;
  task: TaskKind;
  input: JobInput;
  routing: RoutingRule;
}
