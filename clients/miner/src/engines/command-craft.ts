import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RgbImage } from '@studio/ref-sep/image';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { Logger } from 'pino';
import type { Craft, Progress, RenderWork, TrainingWork } from '../craft';
import { encodePng } from '../ref-sep-craft';
import { type CommandJob, IMAGE_INPUT, LORA_FILE, imageFile } from './command-job';
import { decodeExact, mostBytes } from './exact-image';
import { linkJob } from './linked-abort';
import { assertWholeLora } from './lora-header';
import { ProgramFailure, runProgram } from './program-run';
import { WORK_DIR_VARIABLE, type WorkFolders } from './work-folders';

/** By kind, the program and its arguments. */
export type Programs = Readonly<Record<JobKind, readonly string[] | undefined>>;

export interface CommandParts {
  programs: Programs;
  engine: Engine;
  /** All that a program sees of the miner's environment. */
  env: Record<string, string>;
  graceMs: number;
  folders: WorkFolders;
  log: Logger;
}

/** The orchestrator's own limit for a LoRA (security.md). */
const MAX_LORA_BYTES = 512 * 1024 * 1024;
const VARIABLE: Record<JobKind, string> = {
  'lora-training': 'MINER_COMMAND_TRAIN',
  'lora-inference': 'MINER_COMMAND_RENDER',
};
/** Who waits for the work. */
interface Caller {
  signal: AbortSignal;
  progress: Progress | undefined;
}

const PROGRESS = /^progress (\d+)\/(\d+)$/;

/** Any program as an engine; what it reads and writes is in `command-job.ts`. One run per job, as many as there are slots. */
export class CommandCraft implements Craft {
  constructor(private readonly parts: CommandParts) {}

  train(
    { image, steps, rank, seed, timeoutMs }: TrainingWork,
    signal: AbortSignal,
    progress?: Progress,
  ): Promise<Uint8Array> {
    return this.parts.folders.use(async (folder) => {
      const input = join(folder, IMAGE_INPUT);
      const output = join(folder, LORA_FILE);
      await writeFile(input, await encodePng(image));
      await this.run(
        folder,
        { signal, progress },
        {
          version: 1,
          kind: 'lora-training',
          engine: this.parts.engine,
          timeout_ms: timeoutMs,
          input: { image: input, resolution: image.width, steps, rank, seed },
          output: { lora: output },
        },
      );
      const lora = await this.read('lora-training', output, MAX_LORA_BYTES);
      assertWholeLora(lora, `the ${LORA_FILE} that ${VARIABLE['lora-training']} wrote`);
      return lora;
    });
  }

  render(work: RenderWork, signal: AbortSignal, progress?: Progress): Promise<RgbImage[]> {
    return this.parts.folders.use(async (folder) => {
      const { lora, prompt, width, height, seeds, loraScale, warp, timeoutMs } = work;
      const input = join(folder, `input-${LORA_FILE}`);
      const images = seeds.map((_, i) => join(folder, imageFile(i)));
      await writeFile(input, lora);
      await this.run(
        folder,
        { signal, progress },
        {
          version: 1,
          kind: 'lora-inference',
          engine: this.parts.engine,
          timeout_ms: timeoutMs,
          input: { lora: input, prompt, width, height, seeds, lora_scale: loraScale, warp },
          output: { images },
        },
      );
      return Promise.all(images.map((path) => this.readImage(path, { width, height })));
    });
  }

  encode(image: RgbImage): Promise<Uint8Array> {
    return encodePng(image);
  }

  private async run(folder: string, { signal, progress }: Caller, job: CommandJob): Promise<void> {
    const { programs, env, graceMs, log } = this.parts;
    const argv = programs[job.kind];
    if (!argv) throw new Error(`this miner does no ${job.kind}: set ${VARIABLE[job.kind]} to the program that does`);
    const end = linkJob(signal, job.timeout_ms);
    const onLine = (line: string): void => {
      const [, done, all] = PROGRESS.exec(line) ?? [];
      if (!done || !all) return;
      log.debug({ kind: job.kind, done: Number(done), all: Number(all) }, 'progress');
      progress?.(Number(done), Number(all));
    };
    // TMPDIR: what a killed program leaves in it goes with the folder.
    const own = { ...env, TMPDIR: folder, [WORK_DIR_VARIABLE]: folder };
    try {
      await runProgram({ argv, env: own, input: `${JSON.stringify(job)}\n`, graceMs, onLine }, end.signal);
    } catch (error) {
      if (error instanceof ProgramFailure) log.warn({ kind: job.kind, stderr: error.stderr }, error.message);
      throw error;
    } finally {
      end.release();
    }
  }

  private async readImage(path: string, size: { width: number; height: number }): Promise<RgbImage> {
    const file = await this.read('lora-inference', path, mostBytes(size));
    return decodeExact(file, size, size, `${VARIABLE['lora-inference']} wrote`);
  }

  /** @throws Error where the file is missing, empty or longer than it may be. */
  private async read(kind: JobKind, path: string, maxBytes: number): Promise<Buffer> {
    const expected = `${VARIABLE[kind]} exited with 0, but ${path}`;
    const file = await open(path).catch(() => undefined);
    if (!file) throw new Error(`${expected} is not there: the job's "output" says where it belongs`);
    try {
      const { size } = await file.stat();
      if (size === 0) throw new Error(`${expected} is empty`);
      if (size > maxBytes) throw new Error(`${expected} has ${size} bytes, more than the ${maxBytes} that it may have`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  }
}
