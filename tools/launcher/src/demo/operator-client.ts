/** What an operator asks: the registry's public and admin doors, and the auditor's. Waits out a restarting service. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EpochView, ScoreBoard, ScoreEventPage, Snapshot } from '@studio/shared/contract/scores';
import type { Doors } from './doors';

/** An audit; `outcome` and `reason` are null until its verdict. */
export interface AuditReport {
  job_id: string;
  hotkey: string;
  kind: string;
  epoch: number;
  why: string;
  state: string;
  outcome: 'valid' | 'invalid' | 'inconclusive' | null;
  reason: string | null;
  evidence: unknown;
}

export interface Readiness {
  untaken_jobs: number;
  audits_open: number;
  outbox_open: number;
}

const TRIES = 60;
const PAUSE_MS = 250;

export class OperatorClient {
  constructor(private readonly doors: Doors) {}

  currentEpoch(): Promise<EpochView> {
    return this.ask(`${this.doors.registryUrl}/v1/epochs/current`);
  }

  /** Returns the epoch that is now closing. Asked again after a lost reply, the registry refuses: then it is closing. */
  async closeEpoch(epoch: number): Promise<void> {
    await this.ask(`${this.doors.registryAdminUrl}/admin/v1/epochs/close`, 'POST', { epoch });
  }

  /** Null until the epoch is closed. */
  async snapshot(epoch: number): Promise<Snapshot | null> {
    const response = await this.fetch(`${this.doors.registryUrl}/v1/snapshots/${epoch}`);
    return response.status === 404 ? null : ((await response.json()) as Snapshot);
  }

  scores(): Promise<ScoreBoard> {
    return this.ask(`${this.doors.registryUrl}/v1/scores`);
  }

  events(after: number): Promise<ScoreEventPage> {
    return this.ask(`${this.doors.registryUrl}/v1/scores/events?after=${after}&limit=1000`);
  }

  readiness(): Promise<Readiness> {
    return this.ask(`${this.doors.auditorUrl}/admin/v1/readiness`);
  }

  async audits(epoch: number): Promise<AuditReport[]> {
    const url = `${this.doors.auditorUrl}/admin/v1/audits?epoch=${epoch}`;
    return (await this.ask<{ audits: AuditReport[] }>(url)).audits;
  }

  private async ask<T>(url: string, method = 'GET', body?: unknown): Promise<T> {
    const response = await this.fetch(url, method, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${text.slice(0, 300)}`);
    return JSON.parse(text) as T;
  }

  private async fetch(url: string, method = 'GET', body?: unknown): Promise<Response> {
    const headers = {
      authorization: `Bearer ${this.doors.adminKey}`,
      'content-type': 'application/json',
    };
    for (let tries = 1; ; tries += 1) {
      try {
        const response = await fetch(url, {
          method,
          headers,
          body: body === undefined ? undefined : JSON.stringify(body),
          signal: AbortSignal.timeout(10_000),
        });
        if (response.status < 500 || tries === TRIES) return response;
        await response.arrayBuffer();
      } catch (error) {
        if (tries === TRIES) throw error;
      }
      await sleep(PAUSE_MS);
    }
  }
}
