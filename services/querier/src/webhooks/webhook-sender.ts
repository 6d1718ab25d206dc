import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Egress } from '@studio/shared/platform/egress';
import { EgressError } from '@studio/shared/platform/egress-error';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { JobStore } from '../job.store';
import { storable } from '../sql';
import { webhookMessage, type ResultRoute } from './webhook-message';
import type { TryOutcome } from './webhook-metrics';
import type { WebhookSigner } from './webhook-signer';
import { fullTargets, pickFairly, TURN_LIMITS } from './webhook-turns';
import type { WebhookForm } from './webhook-url';
import type { Delivery, TryEnd, WebhookStore } from './webhook.store';

export interface WebhookParts {
  store: Pick<WebhookStore, 'due' | 'claim' | 'end' | 'release'>;
  jobs: Pick<JobStore, 'find'>;
  routes: Readonly<Record<WebhookForm, ResultRoute>>;
  signer: WebhookSigner;
  egress: Pick<Egress, 'request'>;
  count: (outcome: TryOutcome) => void;
  log: Pick<Logger, 'error' | 'warn'>;
  nowMs?: () => number;
}

/** fal's schedule: seconds from a failed try to the next one, the first being made at once. */
export const WAITS_S: readonly number[] = [5, 300, 1_800, 7_200, 18_000, 36_000];
/** Of a try, from the name's resolution to the head of the reply. Below the lease of a delivery. */
const TRY_MS = 15_000;
/** Of a process that is told to end; a try that takes longer is left to another one. */
const GRACE_MS = 2_000;
/** A hint that was lost delays a delivery by so much. */
const SWEEP_MS = 1_000;
/** Every job's end is a hint, whether it has a webhook or not. */
const REST_MS = 50;

/** The receiver's answer, or why there is none. */
type Answer = Pick<TryEnd, 'status' | 'problem'>;

/**
 * Tells clients of the ends of their jobs: at least once, or a dead letter that they can list and replay. What is due stands in
 * the database; a sender may be killed at any moment.
 */
export class WebhookSender {
  private readonly sweeper: Sweeper;
  private readonly flying = new Map<Delivery, Promise<void>>();
  private readonly leaving = new AbortController();

  constructor(private readonly parts: WebhookParts) {
    const { log } = parts;
    // Every try under way listens.
    setMaxListeners(TURN_LIMITS.atOnce, this.leaving.signal);
    this.sweeper = new Sweeper({ name: 'webhooks', everyMs: SWEEP_MS, restMs: REST_MS, run: () => this.run(), log });
  }

  start(): void {
    this.sweeper.start();
  }

  /** Something may be due. */
  hint(): void {
    this.sweeper.hint();
  }

  async stop(): Promise<void> {
    await this.sweeper.stop();
    const landed = Promise.all(this.flying.values());
    await Promise.race([landed, sleep(GRACE_MS, undefined, { ref: false })]);
    this.leaving.abort();
    await landed;
  }

  private async run(): Promise<boolean> {
    const flying = [...this.flying.keys()];
    if (flying.length >= TURN_LIMITS.atOnce) return false;
    const due = await this.parts.store.due(fullTargets(flying, TURN_LIMITS));
    const picked = pickFairly(due, flying, TURN_LIMITS);
    if (picked.length === 0) return false;
    const claimed = await this.parts.store.claim(picked.map(({ jobId }) => jobId));
    for (const delivery of claimed) this.begin(delivery);
    // Beyond those of targets that are full now, others may be due.
    return true;
  }

  private begin(delivery: Delivery): void {
    const flight = this.deliver(delivery)
      .catch((err: unknown) =>
        this.parts.log.error({ err, job: delivery.jobId }, 'a webhook failed here: it is tried again after its lease'),
      )
      .finally(() => {
        this.flying.delete(delivery);
        this.hint();
      });
    this.flying.set(delivery, flight);
  }

  private async deliver(delivery: Delivery): Promise<void> {
    const { store, count, log } = this.parts;
    const answer = await this.send(delivery);
    if (answer === null) return store.release(delivery);
    const waitS = answer.problem === null ? null : (WAITS_S[delivery.failures] ?? null);
    await store.end(delivery, { ...answer, waitS });
    if (answer.problem === null) return count('ok');
    count(waitS === null ? 'dead' : 'failed');
    if (waitS === null) log.warn({ job: delivery.jobId, problem: answer.problem }, 'a webhook is a dead letter');
  }

  /** @returns null when this process ends before the receiver has answered. */
  private async send({ jobId, clientId, url, form }: Delivery): Promise<Answer | null> {
    const { jobs, routes, signer, egress, nowMs = Date.now } = this.parts;
    const job = await jobs.find(clientId, jobId);
    if (!job) throw new Error('the job of a webhook is not stored');
    const body = JSON.stringify(await webhookMessage(job, routes[form]));
    const headers = {
      'content-type': 'application/json',
      'x-studio-delivery-id': jobId,
      ...signer.headers(jobId, clientId, body, nowMs()),
    };
    try {
      const reply = await egress.request({
        url,
        method: 'POST',
        headers,
        body,
        deadlineMs: TRY_MS,
        headersMs: TRY_MS,
        // Nothing of it is read.
        maxBytes: Infinity,
        signal: this.leaving.signal,
      });
      reply.discard();
      return { status: reply.status, problem: problemOf(reply.status) };
    } catch (error) {
      if (!(error instanceof EgressError)) throw error;
      return error.code === 'aborted' ? null : { status: null, problem: storable(error.message) };
    }
  }
}

function problemOf(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  return `the receiver answers ${status}${status >= 300 && status < 400 ? ', and redirects are not followed' : ''}`;
}
