/**
 * What a canary asks for, in a client's words. Numbers are those of a job that a client sent lately, or left out as clients
 * do that want the defaults; photograph, LoRA, prompt and seed never are a client's.
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { ARTIFACT_SCHEME, MAX_PROMPT_LENGTH, MAX_SEED } from '@studio/shared/contract/submit-job';
import type { Engine, InferenceInput, JobInput, JobKind, TrainingInput } from '@studio/shared/domain/job';
import { findTaskKind } from '@studio/shared/domain/task-kinds';
import { isComparable } from '../comparators/by-name';
import type { CanaryMaterialStore } from './canary-material.store';
import type { Chance } from './canary-planner';
import type { Corpus } from './corpus';
import { derive, openPhotograph } from './derive';

export interface Lane {
  kind: JobKind;
  engine: Engine;
}

export interface MadeRequest {
  /** TrainingRequest or InferenceRequest. */
  request: Record<string, unknown>;
  /** The same for two requests only if they ask for the same picture. */
  print: string;
}

export class CanaryMaker {
  private photographs: readonly string[];

  constructor(
    private readonly corpus: Corpus,
    private readonly material: Pick<CanaryMaterialStore, 'examples' | 'loras'>,
    private readonly log: Pick<Logger, 'warn'>,
    private readonly chance: Chance,
  ) {
    this.photographs = corpus.photographs;
  }

  /** Whether there is anything to ask for. What nobody can compare is not worth a miner's time. */
  async canMake({ kind, engine }: Lane): Promise<boolean> {
    const task = findTaskKind(kind, engine);
    if (!task || !isComparable(task)) return false;
    if (kind === 'lora-training') return this.photographs.length > 0;
    return this.corpus.prompts.length > 0 && (await this.loras(engine)).length > 0;
  }

  /** Undefined when the corpus has nothing to make it from any more. */
  async make({ kind, engine }: Lane): Promise<MadeRequest | undefined> {
    const example = this.anyOf(await this.material.examples(kind, engine));
    return kind === 'lora-training' ? this.training(example) : this.inference(engine, example);
  }

  private async training(example: JobInput | undefined): Promise<MadeRequest | undefined> {
    const derived = await this.photograph();
    if (!derived) return undefined;
    const { resolution, steps, rank } = (example ?? {}) as Partial<TrainingInput>;
    const numbers = example && { resolution, steps, rank };
    return { request: { image_url: derived.dataUri, seed: this.seed(), ...numbers }, print: derived.print };
  }

  private async inference(engine: Engine, example: JobInput | undefined): Promise<MadeRequest | undefined> {
    const lora = this.anyOf(await this.loras(engine));
    const prompt = this.prompt();
    if (lora === undefined || prompt === undefined) return undefined;
    const {
      width,
      height,
      loraScale: lora_scale,
      warp,
      numImages: num_images,
    } = (example ?? {}) as Partial<InferenceInput>;
    const numbers = example && { width, height, lora_scale, warp, num_images };
    const seed = this.seed();
    const print = createHash('sha256')
      .update(JSON.stringify([lora, prompt, seed]))
      .digest('hex');
    return { request: { lora_url: `${ARTIFACT_SCHEME}${lora}`, prompt, seed, ...numbers }, print };
  }

  /** A file that has become unusable since the start is left out from now on. */
  private async photograph(): Promise<Awaited<ReturnType<typeof derive>> | undefined> {
    for (;;) {
      const file = this.anyOf(this.photographs);
      if (file === undefined) return undefined;
      try {
        return await derive(await openPhotograph(file), this.chance);
      } catch (error) {
        this.log.warn(`no more canaries from ${file}: it ${(error as Error).message}; replace or remove it`);
        this.photographs = this.photographs.filter((other) => other !== file);
      }
    }
  }

  /** The subject of one line of the corpus, with the details of that or of another one: few lines give many prompts. */
  private prompt(): string | undefined {
    const [one, other] = [this.anyOf(this.corpus.prompts), this.anyOf(this.corpus.prompts)];
    if (one === undefined || other === undefined || this.chance() < 0.5) return one;
    const [subject = ''] = one.split(',', 1);
    const comma = other.indexOf(',');
    const mixed = comma < 0 ? subject : subject + other.slice(comma);
    return mixed.length <= MAX_PROMPT_LENGTH ? mixed : one;
  }

  private loras(engine: Engine): Promise<string[]> {
    return this.material.loras(engine, this.corpus.loras);
  }

  private seed(): number {
    return Math.floor(this.chance() * (MAX_SEED + 1));
  }

  private anyOf<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.chance() * items.length)];
  }
}
