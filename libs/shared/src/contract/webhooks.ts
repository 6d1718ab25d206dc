/**
 * Webhooks as clients see them: what is sent, in fal's words so that receivers written for fal take it, and the list of what was.
 * The protocol is told in docs/clients.md.
 */
import 'reflect-metadata';
import { IsIn, IsOptional } from 'class-validator';
import { PageQuery } from './job-queries';

export const WEBHOOK_STATES = ['waiting', 'pending', 'delivered', 'dead'] as const;
export type WebhookState = (typeof WEBHOOK_STATES)[number];

/** The body of a delivery. */
export interface WebhookBody {
  request_id: string;
  gateway_request_id: string;
  status: 'OK' | 'ERROR';
  /** What the job's result route answers, whether that is a result or an error. */
  payload: object | null;
  error?: string;
  /** Why there is no payload although the job has one. */
  payload_error?: string;
}

/** Times as ISO 8601. */
export interface WebhookView {
  /** The job's; every try carries it in `X-Studio-Delivery-Id`. */
  id: string;
  url: string;
  state: WebhookState;
  /** Tries that have ended. */
  attempts: number;
  last_attempt_at: string | null;
  /** What the receiver answered to the last try; null where it did not. */
  last_status: number | null;
  last_error: string | null;
  next_attempt_at: string | null;
  created_at: string;
  ended_at: string | null;
}

/** `GET /v1/webhooks?state=dead&limit=20&before={id}`: newest job first; `before` is the last id of the page before. */
export class WebhookListQuery extends PageQuery {
  @IsOptional()
  @IsIn(WEBHOOK_STATES)
  state?: WebhookState;
}
