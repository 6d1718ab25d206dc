/**
 * Whether callbacks could reach us. They come to PUBLIC_URL, where the api stands: a worker looks at that door from
 * outside, so that a callback which stays away while the door was shut is our failure and not the miner's.
 *
 * It claims nothing before its first success: where our public address cannot be reached from within (no hairpin NAT), an
 * outage that never began would excuse everybody. It errs in the miner's favour: an outage lasts from the last success to
 * the next. Caller: JobRun, when a callback is overdue.
 */
import { buffer } from 'node:stream/consumers';
import { createEgress, type Egress } from '@studio/shared/platform/egress';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';

/** A restart of the api takes some seconds: two looks fall into it. */
const EVERY_MS = 2_000;
/** Readiness gives its own dependencies 2 s. */
const LOOK_MS = 3_000;
const MAX_REPLY_BYTES = 64 * 1024;
/** As long as the longest job lasts (flux training, 600 s, with its deadline 3 · T_max). */
const KEEP_MS = 1_800_000;
/** Readiness, not liveness: an api without its database cannot take a callback either. */
const DOOR = '/health/ready';
/** From here on a reply says that nobody is behind the door, an ingress's own 502 included. */
const SERVER_ERROR = 500;

export interface DoorWatchOptions {
  log: Pick<Logger, 'error'>;
  /** Replaced by tests, and where only a proxy leads to our own public address. */
  egress?: Egress;
  now?: () => number;
}

export class DoorWatch {
  private readonly outages: { fromMs: number; toMs: number }[] = [];
  private readonly url: string;
  private readonly egress: Egress;
  private readonly now: () => number;
  private readonly sweeper: Sweeper;
  private lastOpenMs: number | undefined;
  private shut = false;

  constructor(publicUrl: string, { log, egress, now = () => performance.now() }: DoorWatchOptions) {
    this.url = `${publicUrl.replace(/\/+$/, '')}${DOOR}`;
    // Our own address, which we configured ourselves, may well be a private one.
    this.egress = egress ?? createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 1 });
    this.now = now;
    this.sweeper = new Sweeper({ name: 'our own door', everyMs: EVERY_MS, run: (signal) => this.look(signal), log });
  }

  start(): void {
    this.sweeper.start();
  }

  async stop(): Promise<void> {
    // First: a look that hangs would hold the end up.
    await this.egress.close();
    await this.sweeper.stop();
  }

  /** Whether the door was shut at any instant of this interval of `performance.now()`. */
  wasShut(fromMs: number, toMs: number): boolean {
    const lasting = this.shut && this.lastOpenMs !== undefined && this.lastOpenMs <= toMs;
    return lasting || this.outages.some((outage) => outage.fromMs <= toMs && outage.toMs >= fromMs);
  }

  /** One look; never throws. */
  async look(stopping?: AbortSignal): Promise<void> {
    const startMs = this.now();
    const open = await this.isOpen();
    if (stopping?.aborted) return;
    if (!open) {
      this.shut = true;
      return;
    }
    if (this.shut && this.lastOpenMs !== undefined) this.outages.push({ fromMs: this.lastOpenMs, toMs: this.now() });
    this.shut = false;
    // When it was asked: at any instant since, the door may have shut behind the question.
    this.lastOpenMs = startMs;
    while (this.outages[0] && this.outages[0].toMs < this.now() - KEEP_MS) this.outages.shift();
  }

  private async isOpen(): Promise<boolean> {
    try {
      const reply = await this.egress.request({
        url: this.url,
        method: 'GET',
        deadlineMs: LOOK_MS,
        maxBytes: MAX_REPLY_BYTES,
      });
      // To the end, so that the connection is kept.
      await buffer(reply.body);
      return reply.status < SERVER_ERROR;
    } catch {
      return false;
    }
  }
}
