/**
 * The main job, through the public API only: a photograph becomes a LoRA, the LoRA becomes images; enough further work
 * that every miner is audited and scored; then the epoch is closed.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobView, ResultView } from '@studio/shared/contract/job-view';
import type { SubmitJobBody } from '@studio/shared/contract/submit-job';
import type { Snapshot } from '@studio/shared/contract/scores';
import type { LauncherOptions } from '../options';
import { ApiClient } from './api-client';
import type { Doors } from './doors';
import { OperatorClient, type AuditReport } from './operator-client';
import { photoFor, psnrDb } from './photos';
import {
  imageBody,
  LARGE_IMAGES,
  LARGE_TRAINING,
  MAIN_IMAGES,
  MAIN_TRAINING,
  PSNR_IMAGE,
  SMALL_TRAININGS,
  smallImages,
  trainingBody,
  type PlannedImage,
  type PlannedTraining,
} from './plan';
import type { Progress } from './progress';

export interface DemoJob {
  title: string;
  view: JobView;
  /** Key of its submit: the same key must give the same job again. */
  idempotencyKey: string;
  body: SubmitJobBody;
  files: string[];
}

export interface DemoOutcome {
  jobs: DemoJob[];
  epoch: number;
  snapshot: Snapshot;
  audits: AuditReport[];
  /** Of the image rendered without prompt or warp, against what was trained on, both 64². */
  psnrDb: number;
  largePsnrDb: number;
  /** Times that the main training was done again because its result was found invalid. */
  retrainings: number;
}

/** Submits in flight at a time: more than the miners' slots, so that the queue is never empty. */
const CLIENTS = 8;
const MAX_RETRAININGS = 3;
const SETTLE_BOUND_MS = 120_000;
const SNAPSHOT_BOUND_MS = 90_000;

interface Trained {
  job: DemoJob;
  loraUrl: string;
}

export class Demo {
  private readonly api: ApiClient;
  readonly operator: OperatorClient;
  private readonly jobs: DemoJob[] = [];
  private readonly pixels = new Map<string, Buffer>();

  constructor(
    private readonly doors: Doors,
    private readonly options: Pick<LauncherOptions, 'photo' | 'outDir'>,
    private readonly progress: Progress,
  ) {
    this.api = new ApiClient(doors.apiUrl, doors.apiKey);
    this.operator = new OperatorClient(doors);
    mkdirSync(join(options.outDir, 'images'), { recursive: true });
    mkdirSync(join(options.outDir, 'loras'), { recursive: true });
  }

  async run(): Promise<DemoOutcome> {
    const { epoch } = await this.operator.currentEpoch();
    const [main] = await Promise.all([this.trainPhoto(), this.furtherWork()]);
    const { trained, retrainings, audits } = await this.settleMain(main, epoch);
    const snapshot = await this.closeEpoch(epoch);
    await this.api.close();
    return {
      jobs: this.jobs,
      epoch,
      snapshot,
      audits: await this.operator.audits(epoch).catch(() => audits),
      psnrDb: await this.psnrOf(trained.main, PSNR_IMAGE.name),
      largePsnrDb: await this.psnrOf(trained.large, LARGE_IMAGES[0]!.name),
      retrainings,
    };
  }

  private async trainPhoto(): Promise<{ main: Trained; large: Trained }> {
    const bar = this.progress.bar('training the photograph', 2);
    const trainings = [MAIN_TRAINING, LARGE_TRAINING].map(async (plan) => {
      const trained = await this.train(plan);
      bar.increment();
      return trained;
    });
    const [main, large] = (await Promise.all(trainings)) as [Trained, Trained];
    await this.renderMain(main, large);
    return { main, large };
  }

  private async renderMain(main: Trained, large: Trained): Promise<void> {
    const bar = this.progress.bar('rendering it at prompts and sizes', MAIN_IMAGES.length + LARGE_IMAGES.length);
    const render = async (plan: PlannedImage, trained: Trained): Promise<void> => {
      await this.render(plan, trained.loraUrl);
      bar.increment();
    };
    await Promise.all([
      ...MAIN_IMAGES.map((plan) => render(plan, main)),
      ...LARGE_IMAGES.map((plan) => render(plan, large)),
    ]);
  }

  /** Small trainings and their pictures, a few clients at a time. */
  private async furtherWork(): Promise<void> {
    const perTraining = 1 + smallImages(SMALL_TRAININGS[0]!).length;
    const bar = this.progress.bar('further trainings and images', SMALL_TRAININGS.length * perTraining);
    const waiting = [...SMALL_TRAININGS];
    const client = async (): Promise<void> => {
      for (let plan = waiting.shift(); plan; plan = waiting.shift()) {
        const { loraUrl } = await this.train(plan);
        bar.increment();
        for (const image of smallImages(plan)) {
          await this.render(image, loraUrl);
          bar.increment();
        }
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
  }

  /** Waits for the verdicts; trains and renders the photograph again as long as its result is found invalid. */
  private async settleMain(
    first: { main: Trained; large: Trained },
    epoch: number,
  ): Promise<{ trained: { main: Trained; large: Trained }; retrainings: number; audits: AuditReport[] }> {
    for (let trained = first, retrainings = 0; ; retrainings += 1) {
      const audits = await this.settle(epoch);
      const invalid = [trained.main, trained.large].some(({ job }) => outcomeOf(audits, job.view.id) === 'invalid');
      if (!invalid || retrainings === MAX_RETRAININGS) return { trained, retrainings, audits };
      this.progress.say('the result of the main training was found invalid: training it again');
      trained = await this.trainPhoto();
    }
  }

  /** Waits until every finished job is taken in and every drawn audit has its verdict. */
  private async settle(epoch: number): Promise<AuditReport[]> {
    const bar = this.progress.bar('audits decided', 1);
    const end = performance.now() + SETTLE_BOUND_MS;
    for (let quiet = 0; ; await sleep(250)) {
      const [ready, audits] = await Promise.all([this.operator.readiness(), this.operator.audits(epoch)]);
      bar.setTotal(Math.max(1, audits.length));
      bar.update(audits.filter((audit) => audit.state === 'decided').length);
      quiet = ready.untaken_jobs + ready.audits_open + ready.outbox_open === 0 ? quiet + 1 : 0;
      if (quiet === 2) return audits;
      if (performance.now() > end) {
        throw new Error(`after ${SETTLE_BOUND_MS / 1000} s audits are still open: ${JSON.stringify(ready)}`);
      }
    }
  }

  private async closeEpoch(epoch: number): Promise<Snapshot> {
    this.progress.say(`closing epoch ${epoch}`);
    await this.operator.closeEpoch(epoch);
    const end = performance.now() + SNAPSHOT_BOUND_MS;
    for (;;) {
      const snapshot = await this.operator.snapshot(epoch);
      if (snapshot) return snapshot;
      if (performance.now() > end) throw new Error(`epoch ${epoch} is not closed after ${SNAPSHOT_BOUND_MS / 1000} s`);
      await sleep(250);
    }
  }

  private async train(plan: PlannedTraining): Promise<Trained> {
    const photo = await photoFor(plan.crop, this.doors.root, this.options.photo);
    const uploaded = await this.api.upload(photo.bytes, photo.contentType);
    const { job, result } = await this.work(plan.title, trainingBody(plan, uploaded.url));
    const loraUrl = result.lora!.url;
    this.keep(job, `loras/${plan.name}.safetensors`, await this.api.download(loraUrl));
    if (result.image) this.keep(job, `images/${plan.name}-training.png`, await this.api.download(result.image.url));
    return { job, loraUrl };
  }

  private async render(plan: PlannedImage, loraUrl: string): Promise<void> {
    const { job, result } = await this.work(plan.title, imageBody(plan, loraUrl));
    const bytes = await this.api.download(result.images![0]!.url);
    this.keep(job, `images/${plan.name}.png`, bytes);
  }

  /** One job from submit to result. @throws Error with the job's failure when it has no result. */
  private async work(title: string, body: SubmitJobBody): Promise<{ job: DemoJob; result: ResultView }> {
    const idempotencyKey = randomUUID();
    const { id } = await this.api.submit(body, idempotencyKey);
    const view = await this.api.finished(id);
    const job: DemoJob = { title, view, idempotencyKey, body, files: [] };
    this.jobs.push(job);
    if (view.state !== 'succeeded')
      throw new Error(`${title}: job ${id} ${view.state}: ${view.failure?.message ?? ''}`);
    return { job, result: await this.api.result(id) };
  }

  private keep(job: DemoJob, name: string, bytes: Buffer): void {
    const path = join(this.options.outDir, name);
    writeFileSync(path, bytes);
    job.files.push(path);
    this.pixels.set(name, bytes);
  }

  private psnrOf(trained: Trained, image: string): Promise<number> {
    const training = trained.job.files.find((path) => path.endsWith('-training.png'))!;
    const name = training.slice(this.options.outDir.length + 1);
    return psnrDb(this.pixels.get(name)!, this.pixels.get(`images/${image}.png`)!);
  }
}

export function outcomeOf(audits: readonly AuditReport[], jobId: string): string | null {
  return audits.find((audit) => audit.job_id === jobId)?.outcome ?? null;
}
