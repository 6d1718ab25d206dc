import type { WebhookState } from '@studio/shared/contract/webhooks';
import type { DataSource } from 'typeorm';
import type { Updated } from '../sql';
import type { Waiting } from './webhook-turns';
import type { Webhook } from './webhook-url';

/** A try that this process alone may make, until its lease is over. */
export interface Delivery extends Waiting, Webhook {
  leaseNo: number;
  /** Tries that failed since the schedule began. */
  failures: number;
}

export interface TryEnd {
  /** What the receiver answered; null where it did not. */
  status: number | null;
  /** Why it failed; null: it was taken. */
  problem: string | null;
  /** Until the next try; null: there is none. */
  waitS: number | null;
}

export interface StoredWebhook {
  jobId: string;
  url: string;
  state: WebhookState;
  attempts: number;
  nextAt: Date | null;
  lastAt: Date | null;
  lastStatus: number | null;
  lastError: string | null;
  createdAt: Date;
  endedAt: Date | null;
}

export interface WebhookBacklog {
  pending: number;
  /** Since the oldest pending one became so. */
  oldestS: number;
  /** That the longest due one waits for its try: the sender is behind, or there is none. */
  overdueS: number;
}

/** Longer than a try may take: whoever holds a delivery and dies leaves it to the next after this time. */
export const LEASE_S = 60;
/** Looked at of one client at a time: more than it may have under way (webhook-turns.ts). */
const LOOK_PER_CLIENT = 100;
const LOOK = 2_000;

const DUE = `state = 'pending' AND next_at <= studio.now() AND (lease_until IS NULL OR lease_until <= studio.now())`;

const VIEW = `job_id AS "jobId", url, state, attempts, next_at AS "nextAt", last_at AS "lastAt", last_status AS "lastStatus",
  last_error AS "lastError", created_at AS "createdAt", ended_at AS "endedAt"`;

/** Deliveries: begun by a trigger in the transaction that ends the job, ended here. Any number of replicas may use it at once. */
export class WebhookStore {
  constructor(private readonly db: DataSource) {}

  /**
   * The longest due of each client, then the second of each, and so on. Goes from client to client by the index, so that the
   * thousands of one cost the others nothing.
   * @param fullTargets left out.
   */
  async due(fullTargets: readonly string[]): Promise<Waiting[]> {
    return this.db.query<Waiting[]>(
      `WITH RECURSIVE clients AS (
         (SELECT client_id FROM studio.webhooks WHERE state = 'pending' ORDER BY client_id LIMIT 1)
         UNION ALL
         SELECT (SELECT client_id FROM studio.webhooks
                  WHERE state = 'pending' AND client_id > c.client_id ORDER BY client_id LIMIT 1)
           FROM clients c WHERE c.client_id IS NOT NULL)
       SELECT d.job_id AS "jobId", c.client_id AS "clientId", d.target
         FROM clients c CROSS JOIN LATERAL (
           SELECT job_id, target, row_number() OVER (ORDER BY next_at, job_id) AS place, next_at
             FROM (SELECT job_id, target, next_at FROM studio.webhooks
                    WHERE client_id = c.client_id AND ${DUE} AND target <> ALL ($1::text[])
                    ORDER BY next_at LIMIT ${LOOK_PER_CLIENT}) longest) d
        ORDER BY d.place, d.next_at LIMIT ${LOOK}`,
      [fullTargets],
    );
  }

  /** Those of them that are still due and that nobody else takes at this moment. */
  async claim(jobIds: readonly string[]): Promise<Delivery[]> {
    const [rows] = await this.db.query<Updated<Delivery>>(
      `WITH held AS MATERIALIZED (
         SELECT job_id FROM studio.webhooks WHERE job_id = ANY ($1::uuid[]) AND ${DUE} FOR UPDATE SKIP LOCKED)
       UPDATE studio.webhooks w
          SET lease_no = w.lease_no + 1, lease_until = studio.now() + ${LEASE_S} * interval '1 second'
         FROM held h WHERE w.job_id = h.job_id
       RETURNING w.job_id AS "jobId", w.client_id AS "clientId", w.url, w.form, w.target, w.lease_no AS "leaseNo", w.failures`,
      [jobIds],
    );
    return rows;
  }

  /** Ends a try, unless its lease passed to somebody else meanwhile. */
  async end({ jobId, leaseNo }: Delivery, { status, problem, waitS }: TryEnd): Promise<void> {
    const state = problem === null ? 'delivered' : waitS === null ? 'dead' : 'pending';
    await this.db.query(
      `UPDATE studio.webhooks
          SET state = $3, attempts = attempts + 1, failures = failures + CASE WHEN $5::text IS NULL THEN 0 ELSE 1 END,
              last_at = studio.now(), last_status = $4, last_error = $5, lease_until = NULL,
              next_at = CASE WHEN $3 = 'pending' THEN studio.now() + $6::int * interval '1 second' END,
              ended_at = CASE WHEN $3 <> 'pending' THEN studio.now() END
        WHERE job_id = $1 AND lease_no = $2 AND state = 'pending'`,
      [jobId, leaseNo, state, status, problem, waitS],
    );
  }

  /** As if it had not been tried. */
  async release({ jobId, leaseNo }: Delivery): Promise<void> {
    await this.db.query(
      `UPDATE studio.webhooks SET lease_until = NULL WHERE job_id = $1 AND lease_no = $2 AND state = 'pending'`,
      [jobId, leaseNo],
    );
  }

  /** Newest job first. */
  async list(
    clientId: string,
    { state, limit, before }: { state: WebhookState | null; limit: number; before: string | null },
  ): Promise<StoredWebhook[]> {
    return this.db.query<StoredWebhook[]>(
      `SELECT ${VIEW} FROM studio.webhooks
        WHERE client_id = $1 AND ($2::text IS NULL OR state = $2) AND ($4::uuid IS NULL OR job_id < $4::uuid)
        ORDER BY job_id DESC LIMIT $3`,
      [clientId, state, limit, before],
    );
  }

  /** Undefined for another client's, exactly as for none. */
  async find(clientId: string, jobId: string): Promise<StoredWebhook | undefined> {
    const [found] = await this.db.query<StoredWebhook[]>(
      `SELECT ${VIEW} FROM studio.webhooks WHERE client_id = $1 AND job_id = $2`,
      [clientId, jobId],
    );
    return found;
  }

  /** Begins the schedule anew, at once, where the job has ended. A try that is under way goes on, and counts. */
  async replay(clientId: string, jobId: string): Promise<void> {
    await this.db.query(
      `UPDATE studio.webhooks SET state = 'pending', failures = 0, pending_at = studio.now(), next_at = studio.now(), ended_at = NULL
        WHERE client_id = $1 AND job_id = $2 AND state <> 'waiting'`,
      [clientId, jobId],
    );
  }

  async backlog(): Promise<WebhookBacklog> {
    const [row] = await this.db.query<WebhookBacklog[]>(
      `SELECT count(*)::int AS pending,
              coalesce(extract(epoch FROM studio.now() - min(pending_at)), 0)::float8 AS "oldestS",
              greatest(0, coalesce(extract(epoch FROM studio.now() - min(next_at) FILTER (WHERE ${DUE})), 0))::float8
                AS "overdueS"
         FROM studio.webhooks WHERE state = 'pending'`,
    );
    return row!;
  }
}
