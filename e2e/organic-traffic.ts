/** Clients of the public API: each hands in trainings and renderings at random times, whether earlier ones are done or not. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ApiClient } from '@studio/launcher/demo/api-client';
import { Chance } from '@studio/simulations/chance';
import sharp from 'sharp';

export interface TrafficRates {
  /** Mean ms between two jobs of one client, of each kind. */
  trainingMs: number;
  renderingMs: number;
}

/** How often the pace is looked after: slowly beside the jobs, so that it says nothing about any of them. */
const PACE_MS = 2_000;
/** Shares of its time that this thread may be busy. Above, jobs begin to wait for each other rather than for their miners. */
const BUSY = [0.45, 0.65] as const;

/** How fast the clients go: as fast as they want, or as this machine can follow. */
export class Pace {
  private slower = 1;
  private before = performance.eventLoopUtilization();
  private readonly timer = setInterval(() => this.look(), PACE_MS).unref();

  wait(chance: Chance, meanMs: number): number {
    return chance.wait(meanMs * this.slower);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.before);
    this.before = now;
    if (utilization > BUSY[1]) this.slower *= 1.25;
    if (utilization < BUSY[0]) this.slower = Math.max(1, this.slower / 1.25);
  }
}

/**
 * Mean ms between a client's looks at its job. It shares its thread with the worker here, as it does nowhere else, and must not
 * be busy just when its own job begins or ends.
 */
const LOOK_MS = 700;

/** LoRAs of the latest trainings that a client renders with. */
const LORAS_IN_USE = 6;

const WORDS = 'cat lighthouse watercolour dusk neon portrait fog orchard marble quiet river fox brass winter'.split(
  ' ',
);

export class OrganicClient {
  private readonly chance: Chance;
  private readonly loras: string[] = [];
  private readonly unfinished = new Set<Promise<void>>();
  private readonly stopping = new AbortController();
  private isPreparing = true;
  private running: Promise<unknown> = Promise.resolve();
  private readonly photo = sharp(readFileSync(join(__dirname, '../photos/coffee.png')));

  constructor(
    private readonly api: ApiClient,
    private readonly pace: Pace,
    seed: number,
  ) {
    this.chance = new Chance(seed);
  }

  /** Some LoRAs to begin with, and a picture of each. */
  async prepare(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.train()));
    await Promise.all(Array.from({ length: count }, () => this.render()));
  }

  start({ trainingMs, renderingMs }: TrafficRates): void {
    this.isPreparing = false;
    this.running = Promise.all([
      this.arrivals(trainingMs, () => this.train()),
      this.arrivals(renderingMs, () => this.render()),
    ]);
  }

  /** No more jobs; resolves when the last one is done. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await Promise.all(this.unfinished);
  }

  private async train(): Promise<void> {
    const { api, chance } = this;
    const photo = await this.crop();
    // Small ones are sent along, or uploaded before, as clients like it.
    const image_url = chance.happens(0.7)
      ? `data:image/png;base64,${photo.toString('base64')}`
      : (await api.upload(photo, 'image/png')).url;
    const input = { image_url, resolution: chance.whole(16, 32), steps: chance.whole(5, 30), rank: chance.whole(1, 8) };
    const id = await this.done({ kind: 'lora-training', engine: 'ref-sep-v1', input });
    const { lora } = await api.result(id);
    if (lora) this.loras.push(lora.url);
    if (this.loras.length > LORAS_IN_USE) this.loras.shift();
  }

  private async render(): Promise<void> {
    const { chance } = this;
    const lora_url = this.loras[chance.whole(0, this.loras.length - 1)]!;
    const prompt = Array.from({ length: chance.whole(2, 9) }, () => WORDS[chance.whole(0, WORDS.length - 1)]).join(' ');
    const input = {
      lora_url,
      prompt,
      width: chance.whole(16, 32),
      height: chance.whole(16, 32),
      lora_scale: chance.whole(1, 8) / 4,
      warp: chance.whole(0, 4) / 4,
      num_images: chance.whole(1, 2),
    };
    await this.done({ kind: 'lora-inference', engine: 'ref-sep-v1', input });
  }

  private async done(body: Parameters<ApiClient['submit']>[0]): Promise<string> {
    const { id } = await this.api.submit(body, randomUUID());
    const { state, failure } = await (this.isPreparing ? this.api.finished(id) : this.looked(id));
    if (state !== 'succeeded') throw new Error(`${body.kind} ${id} ${state}: ${JSON.stringify(failure)}`);
    return id;
  }

  private async looked(id: string): ReturnType<ApiClient['job']> {
    for (;;) {
      await pause(this.chance.wait(LOOK_MS));
      const view = await this.api.job(id);
      if (view.finished_at) return view;
    }
  }

  /** A Poisson process: when the next job comes has nothing to do with when an earlier one ends. */
  private async arrivals(meanMs: number, arrive: () => Promise<void>): Promise<void> {
    const { signal } = this.stopping;
    for (;;) {
      await pause(this.pace.wait(this.chance, meanMs), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const work = arrive().finally(() => this.unfinished.delete(work));
      // Seen by `stop`; a job that failed must not end the process before.
      work.catch(() => undefined);
      this.unfinished.add(work);
    }
  }

  private async crop(): Promise<Buffer> {
    const { chance } = this;
    const { width, height } = await this.photo.metadata();
    const side = chance.whole(40, 120);
    const [left, top] = [chance.whole(0, width - side), chance.whole(0, height - side)];
    return this.photo.clone().extract({ left, top, width: side, height: side }).png().toBuffer();
  }
}
