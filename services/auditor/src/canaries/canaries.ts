/**
 * Canaries: jobs of our own, so that every miner is measured where clients send too little. They are made as clients make
 * theirs, enter by the same door, and are awarded and drawn like any other; only `studio.canaries` knows which they are.
 *
 *     planned ──▶ submitted ──▶ ended
 *        │ a reference knows the answer first          ▲ with an audit that has its first replay already
 *        └──▶ answering ──▶ answered ──▶ submitted ────┘
 *
 * Rows come before requests, requests are repeated until they are answered, and each step asks Postgres what is to be done:
 * a crash anywhere, or a second replica, changes nothing.
 */
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { SubmitJobCommand } from '@studio/shared/contract/submit-job';
import { isStudioError } from '@studio/shared/domain/errors';
import { ENGINES, JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { requestJob } from '../job-requests';
import type { CanaryMaker, Lane } from './canary-maker';
import type { CanaryPlanStore } from './canary-plan.store';
import { planCanaries, type Chance } from './canary-planner';
import type { CanaryStore, DueCanary } from './canary.store';

/** Asked for in one run; a photograph takes about 50 ms, and other loops share this process. */
const DUE_AT_ONCE = 20;

/** Derived photographs that were made before; a second in a row already says that the corpus is hardly anything. */
const MAX_REPEATS = 5;

export interface CanaryEvents {
  /** A request was answered: a job, or why not. */
  asked: (lane: Lane, outcome: 'submitted' | 'refused') => void;
  /** Known answers wait to be compared with. */
  audits: () => void;
}

export interface CanaryParts {
  plans: CanaryPlanStore;
  store: CanaryStore;
  /** Undefined until the corpus is read. One that can make nothing still sees to the canaries under way. */
  maker: () => CanaryMaker | undefined;
  nats: NatsConnection;
  log: Pick<Logger, 'warn'>;
  events: CanaryEvents;
  chance: Chance;
}

export class Canaries {
  constructor(private readonly parts: CanaryParts) {}

  /** One look at everything. @returns whether more is due. */
  async run(signal?: AbortSignal): Promise<boolean> {
    const { store, events } = this.parts;
    const maker = this.parts.maker();
    if (!maker) return false;
    const { audits } = await store.end();
    if (audits > 0) events.audits();
    await store.takeAnswers();
    await this.plan(maker);
    const due = await store.claimDue(DUE_AT_ONCE);
    await this.askAll(due, maker, signal);
    return due.length === DUE_AT_ONCE;
  }

  /** One that goes wrong holds up no other, unless the querier is away. Then, and at the end, the sweeper pauses. */
  private async askAll(due: readonly DueCanary[], maker: CanaryMaker, signal?: AbortSignal): Promise<void> {
    const failures: unknown[] = [];
    for (const canary of due) {
      if (signal?.aborted) return;
      await this.ask(canary, maker).catch((error: unknown) => {
        if (isStudioError(error) && error.code === 'DEPENDENCY_DOWN') throw error;
        failures.push(error);
      });
    }
    if (failures.length > 0) throw failures[0];
  }

  private async plan(maker: CanaryMaker): Promise<void> {
    if (!(await this.parts.plans.isDue())) return;
    const makeable = new Set<string>();
    for (const lane of JOB_KINDS.flatMap((kind) => ENGINES.map((engine) => ({ kind, engine })))) {
      if (await maker.canMake(lane)) makeable.add(nameOf(lane));
    }
    await this.parts.plans.plan(
      (lane) => makeable.has(nameOf(lane)),
      (planning) => planCanaries(planning, this.parts.chance),
    );
  }

  private async ask(canary: DueCanary, maker: CanaryMaker): Promise<void> {
    const { store, nats, events } = this.parts;
    const request = canary.request ?? (await this.make(canary, maker));
    if (!request) return;
    const isAnswer = canary.state === 'planned' && canary.reference !== null;
    const reply = await requestJob(nats, commandFor({ ...canary, request }));
    if ('jobId' in reply) {
      await (isAnswer ? store.answering(canary.id, reply.jobId) : store.submitted(canary.id, reply.jobId));
    } else {
      this.parts.log.warn({ canary: canary.id, miner: canary.hotkey, ...reply }, 'canary refused');
      await (isAnswer ? store.withoutAnswer(canary.id) : store.refused(canary.id, reply.refusal));
    }
    if (!isAnswer) events.asked(canary, 'jobId' in reply ? 'submitted' : 'refused');
  }

  /** Undefined when this pass is not to ask for it. */
  private async make(canary: DueCanary, maker: CanaryMaker): Promise<Record<string, unknown> | undefined> {
    for (let tries = 0; tries < MAX_REPEATS; tries += 1) {
      const made = await maker.make(canary);
      if (!made) break;
      const settled = await this.parts.store.settleRequest(canary.id, made);
      if (settled === 'settled') return made.request;
      if (settled === 'taken') return undefined;
    }
    await this.parts.store.refused(canary.id, 'nothing new can be made from the corpus: add photographs and prompts');
    return undefined;
  }
}

/** The same canary in the same state always has the same words: its key names them. */
function commandFor(canary: DueCanary & { request: Record<string, unknown> }): SubmitJobCommand {
  const { kind, engine, hotkey, reference, request } = canary;
  if (canary.state === 'answered') {
    const input = canary.answerInput ?? undefined;
    return { idempotencyKey: canary.requestKey, kind, engine, input, routing: { firstHotkey: hotkey } };
  }
  return reference === null
    ? { idempotencyKey: canary.requestKey, kind, engine, request, routing: { firstHotkey: hotkey } }
    : { idempotencyKey: canary.answerKey, kind, engine, request, routing: { onlyHotkey: reference } };
}

function nameOf({ kind, engine }: Lane): string {
  return `${kind}|${engine}`;
}
