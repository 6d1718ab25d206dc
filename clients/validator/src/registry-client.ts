// For whoever uses this as a library: the contract's classes are decorated.
import 'reflect-metadata';
import type { EpochView, ScoreBoard, ScoreEventPage } from '@studio/shared/contract/scores';
import { SCORE_EVENTS_PAGE } from '@studio/shared/contract/scores';
import type { Policy } from '@studio/shared/domain/policy';
import { reasonOf } from './request-failure';

/** A snapshot of ten thousand miners is about 3 MB; the rest is room, not an invitation. */
const MAX_BODY_BYTES = 64 * 1_024 * 1_024;
const TIMEOUT_MS = 15_000;

/** The registry cannot be asked now: away, starting, overloaded. Asking again is the remedy. */
export class RegistryAway extends Error {
  constructor(url: string, why: string, options?: ErrorOptions) {
    super(`${url} does not answer: ${why}`, options);
    this.name = 'RegistryAway';
  }
}

/** The registry's public HTTP, which is the canonical door: everything here comes from its database. */
export class RegistryClient {
  constructor(private readonly baseUrl: string) {}

  /** @throws RegistryAway; TypeError when the answer is not a page of events. */
  async events(after: number): Promise<ScoreEventPage> {
    const text = await this.get(`/v1/scores/events?after=${after}&limit=${SCORE_EVENTS_PAGE}`);
    const page = JSON.parse(text ?? 'null') as ScoreEventPage | null;
    if (!page || !Array.isArray(page.events) || !Number.isSafeInteger(page.last_seq)) {
      throw new TypeError(`${this.baseUrl} is not a registry: it has no page of score events`);
    }
    return page;
  }

  /** The exact text, whose hash the log has; null when that epoch has none. `latest`: of the newest closed epoch. */
  snapshot(epoch: number | 'latest'): Promise<string | null> {
    return this.get(`/v1/snapshots/${epoch}`);
  }

  /** The open epoch; null when none is. */
  async currentEpoch(): Promise<EpochView | null> {
    return JSON.parse((await this.get('/v1/epochs/current')) ?? 'null') as EpochView | null;
  }

  /** The open epoch's scores so far, for showing; null before the first epoch. */
  async board(): Promise<ScoreBoard | null> {
    return JSON.parse((await this.get('/v1/scores')) ?? 'null') as ScoreBoard | null;
  }

  /** Of the open epoch; null before the first. */
  async policy(): Promise<Policy | null> {
    return JSON.parse((await this.get('/v1/policy')) ?? 'null') as Policy | null;
  }

  private async get(path: string): Promise<string | null> {
    const url = new URL(path, this.baseUrl).href;
    let reply: Response;
    let text: string;
    try {
      reply = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
      text = await bounded(reply);
    } catch (error) {
      throw new RegistryAway(url, reasonOf(error), { cause: error });
    }
    if (reply.status === 404) return null;
    if (!reply.ok) throw new RegistryAway(url, `status ${reply.status}`);
    return text;
  }
}

async function bounded(reply: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) throw new RangeError(`the body is larger than ${MAX_BODY_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
