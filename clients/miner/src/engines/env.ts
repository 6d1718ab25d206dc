/**
 * Which engine a miner works with, and what that engine needs: one field per environment variable, of the same name.
 * `MinerEnv` extends it, so that everything that is wrong is said at once. What only one engine needs is only demanded
 * when that engine is chosen.
 */
import type { Engine } from '@studio/shared/domain/job';
import { ENGINES } from '@studio/shared/domain/task-kinds';
import { Type } from 'class-transformer';
import {
  IsIn,
  IsInt,
  IsNumber,
  IsOptional,
  IsUrl,
  Length,
  Matches,
  Max,
  Min,
  ValidateBy,
  ValidateIf,
} from 'class-validator';
import { readCommandLine } from './command-line';

export const ENGINE_NAMES = ['ref-sep-v1', 'http', 'command'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export const HTTP_APIS = ['comfyui', 'automatic1111'] as const;
export type HttpApi = (typeof HTTP_APIS)[number];

const NUMBER = Type(() => Number);
const whenHttp = ValidateIf(({ MINER_ENGINE }: EngineEnv) => MINER_ENGINE === 'http');
const whenComfyUi = ValidateIf(
  ({ MINER_ENGINE, MINER_HTTP_API }: EngineEnv) => MINER_ENGINE === 'http' && MINER_HTTP_API === 'comfyui',
);
/** `command` needs a trainer or a renderer; a given one has to be readable, whichever engine uses it. */
const whenTrainerIsNeeded = ValidateIf(
  ({ MINER_ENGINE, MINER_COMMAND_TRAIN: train, MINER_COMMAND_RENDER: render }: EngineEnv) =>
    train !== undefined || (MINER_ENGINE === 'command' && render === undefined),
);
const COMMAND_LINE = ValidateBy({
  name: 'isCommandLine',
  validator: {
    validate: (value) => typeof value === 'string' && readCommandLine(value) !== undefined,
    defaultMessage: () =>
      'must be a program and its arguments: ["python","train.py"] or python train.py (quotes group words; no shell ' +
      'reads it). MINER_ENGINE=command needs MINER_COMMAND_TRAIN, MINER_COMMAND_RENDER, or both',
  },
});

export class EngineEnv {
  /** `ref-sep-v1`: built in. `http`: a ComfyUI or Automatic1111-compatible server. `command`: programs of yours. */
  @IsIn(ENGINE_NAMES)
  MINER_ENGINE: EngineName = 'ref-sep-v1';

  /** Where the image server listens, such as http://127.0.0.1:8188 (ComfyUI) or http://127.0.0.1:7860 (Automatic1111). */
  @whenHttp
  @IsUrl(
    { require_tld: false, protocols: ['http', 'https'], require_protocol: true, disallow_auth: true },
    { message: 'must be the http(s) URL of your image server; a name and password go into MINER_HTTP_AUTH' },
  )
  MINER_HTTP_URL!: string;

  @whenHttp
  @IsIn(HTTP_APIS)
  MINER_HTTP_API: HttpApi = 'comfyui';

  /** `name:password`, for a server that asks for one (Automatic1111 --api-auth, a proxy). */
  @IsOptional()
  @Matches(/^[^:]+:./, { message: 'must be name:password' })
  MINER_HTTP_AUTH?: string;

  /** ComfyUI: a workflow in API format with placeholders (clients/miner/examples/comfyui-flux-lora.json). */
  @whenComfyUi
  @Length(1, 4096, { message: 'must be the path of a workflow file in API format, with placeholders' })
  MINER_HTTP_WORKFLOW!: string;

  /** The folder in which the server looks for LoRA files, as this miner sees it. */
  @whenHttp
  @Length(1, 4096, { message: "must be the server's LoRA folder, such as ComfyUI/models/loras" })
  MINER_HTTP_LORA_DIR!: string;

  /** The LoRA files that jobs brought may take this much room there; the longest unused make way. */
  @NUMBER
  @IsNumber()
  @Min(1)
  MINER_HTTP_LORA_GB = 20;

  /** The defaults of the existing miners' contract: 28 steps, guidance 7. */
  @NUMBER
  @IsInt()
  @Min(1)
  @Max(100)
  MINER_HTTP_STEPS = 28;

  @NUMBER
  @IsNumber()
  @Min(0)
  @Max(20)
  MINER_HTTP_GUIDANCE = 7;

  /** Patience with everything but the drawing itself, which may take the job's time. */
  @NUMBER
  @IsInt()
  @Min(100)
  @Max(600_000)
  MINER_HTTP_TIMEOUT_MS = 30_000;

  /** The program that trains; beside MINER_ENGINE=http it adds training to that miner. */
  @whenTrainerIsNeeded
  @COMMAND_LINE
  MINER_COMMAND_TRAIN?: string;

  /** The program that renders. */
  @IsOptional()
  @COMMAND_LINE
  MINER_COMMAND_RENDER?: string;

  /** The engine that the programs implement. */
  @IsIn(ENGINES)
  MINER_COMMAND_ENGINE: Engine = 'flux';

  /** Further variables that the programs may see, such as HF_TOKEN,WANDB_MODE. Those of the miner itself never. */
  @Matches(/^$|^(?!MINER_)[A-Za-z_]\w*(,(?!MINER_)[A-Za-z_]\w*)*$/, {
    message:
      'must be names of variables with commas between them; the variables of the miner (MINER_…) are not given away',
  })
  MINER_COMMAND_PASS_ENV = '';

  /** From SIGTERM to SIGKILL. The miner itself ends within five seconds: longer, and its end does not wait. */
  @NUMBER
  @IsInt()
  @Min(0)
  @Max(60_000)
  MINER_COMMAND_GRACE_MS = 3_000;
}

/**
 * What a trainer on a GPU needs of its surroundings. A list of what is passed and not of what is kept back: a secret
 * has any name. Whole names, no prefixes but the locale's: a vendor's keys begin like its settings.
 */
const PASSED: ReadonlySet<string> = new Set(
  [
    'PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TERM',
    'LD_LIBRARY_PATH DYLD_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV PYTHONPATH PYTHONHOME PYTHONUNBUFFERED',
    'CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_HOME CUDA_PATH NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES',
    'PYTORCH_CUDA_ALLOC_CONF HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HSA_OVERRIDE_GFX_VERSION',
    'OMP_NUM_THREADS MKL_NUM_THREADS XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME',
    'HF_HOME HF_HUB_CACHE HF_HUB_OFFLINE TRANSFORMERS_CACHE TORCH_HOME',
  ].flatMap((line) => line.split(' ')),
);

/** The environment of a program of the operator's: without the miner's key, and whatever else it need not know. */
export function programEnv(passEnv: string, source: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const asked = new Set(passEnv.split(','));
  const passed = Object.entries(source).filter(
    ([name]) => PASSED.has(name) || name.startsWith('LC_') || (asked.has(name) && !name.startsWith('MINER_')),
  );
  return Object.fromEntries(passed.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
