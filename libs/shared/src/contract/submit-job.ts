/**
 * A job handed in: over HTTP by a client (`SubmitJobBody`, inputs by URL), over NATS by the auditor (`SubmitJobCommand`:
 * the stored input of an earlier job, so that a replay asks for exactly the same work, or a request in a client's words,
 * which goes through everything that a client's does).
 */
import 'reflect-metadata';
import { Type } from 'class-transformer';
import {
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsNumber,
  IsObject,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateBy,
  ValidateIf,
  ValidateNested,
  isObject,
  type ValidationArguments,
} from 'class-validator';
import type { Engine, JobInput, JobKind, JobState, RoutingRule } from '../domain/job';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

/** Owner of every job that enters over NATS. Only the auditor's tables know which of them are replays. */
export const HOUSE_CLIENT_ID = '00000000-0000-7000-8000-000000000001';

export const MAX_SEED = 2 ** 32 - 1;
/** fal's clients send prompts up to a few thousand characters; more is not a prompt. */
export const MAX_PROMPT_LENGTH = 4_000;
/** Longer than any that browsers and proxies agree on. */
export const MAX_WEBHOOK_URL_LENGTH = 2_048;
/** A data URI of a 10 MiB photograph. */
export const MAX_IMAGE_URL_LENGTH = 15 * 1024 * 1024;

/** A day. */
export const MAX_DEADLINE_S = 86_400;

/** Shape of `input` for `lora-training`. Numeric ranges per engine are in domain/task-kinds.ts. */
export class TrainingRequest {
  /** The photograph, or a zip with one: a `data:` URI, the URL that uploading it returned, or a public URL of it. */
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_IMAGE_URL_LENGTH)
  image_url!: string;

  @IsOptional()
  @IsInt()
  resolution?: number;

  @IsOptional()
  @IsInt()
  steps?: number;

  @IsOptional()
  @IsInt()
  rank?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_SEED)
  seed?: number;
}

/** Shape of `input` for `lora-inference`. */
export class InferenceRequest {
  /** The LoRA: the URL in the result of a training job, that uploading one returned, or a public URL of it. */
  @IsString()
  @Length(1, 2_048)
  lora_url!: string;

  @IsString()
  @MaxLength(MAX_PROMPT_LENGTH)
  prompt!: string;

  @IsOptional()
  @IsInt()
  width?: number;

  @IsOptional()
  @IsInt()
  height?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_SEED)
  seed?: number;

  @IsOptional()
  @IsNumber({ allowNaN: false, allowInfinity: false })
  @Min(0)
  @Max(2)
  lora_scale?: number;

  @IsOptional()
  @IsNumber({ allowNaN: false, allowInfinity: false })
  @Min(0)
  @Max(1)
  warp?: number;

  @IsOptional()
  @IsInt()
  num_images?: number;
}

/** `POST /v1/jobs`. `input` is validated as TrainingRequest or InferenceRequest once `kind` is known. */
export class SubmitJobBody {
  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsIn(ENGINES)
  engine!: Engine;

  @IsObject()
  input!: Record<string, unknown>;

  /** No other miner ever sees the input again: the job may be audited by our own references only. Absent: false. */
  @IsOptional()
  @IsBoolean()
  private?: boolean;

  /** Seconds from the submission until the job ends as expired, whatever became of it. Absent: three times what its task may take. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_DEADLINE_S)
  deadline_s?: number;

  /** Seconds from the submission until a job that was given to no miner yet ends as expired. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MAX_DEADLINE_S)
  start_deadline_s?: number;

  /** Is told of the job's end by POST, signed (docs/clients.md). */
  @IsOptional()
  @IsString()
  @MaxLength(MAX_WEBHOOK_URL_LENGTH)
  webhook_url?: string;
}

export class RoutingRuleMessage implements RoutingRule {
  @IsOptional()
  @IsString()
  onlyHotkey?: string;

  @IsOptional()
  @IsString()
  firstHotkey?: string;

  @IsOptional()
  @IsArray()
  @IsString({ each: true })
  excludeOperators?: string[];
}

/** How the auditor names a LoRA in `lora_url`: it can sign no links. A client's `lora_url` may not begin so. */
export const ARTIFACT_SCHEME = 'artifact:';

/** Absent when the other one of the two is there, and only then. */
function InsteadOf(other: 'input' | 'request'): PropertyDecorator {
  const isDue = (command: Partial<SubmitJobCommand>, value: unknown): boolean =>
    value !== undefined || command[other] === undefined;
  const message = `has to be a JSON object, given instead of ${other} and not beside it`;
  const isAlone = (value: unknown, { object }: ValidationArguments): boolean =>
    isObject(value) && (object as SubmitJobCommand)[other] === undefined;
  return (target, property) => {
    ValidateIf(isDue)(target, property);
    ValidateBy({ name: 'insteadOf', validator: { validate: isAlone } }, { message })(target, property);
  };
}

/** `querier.jobs.submit`. */
export class SubmitJobCommand {
  /** The same key always gives the same job. */
  @IsUUID()
  idempotencyKey!: string;

  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsIn(ENGINES)
  engine!: Engine;

  /** The stored input of a job, exactly as its row has it. */
  @InsteadOf('request')
  input?: JobInput;

  /**
   * Or what a client would send: TrainingRequest or InferenceRequest, by `kind`. NATS carries 1 MB, hence photographs of
   * some hundred kB.
   */
  @InsteadOf('input')
  request?: Record<string, unknown>;

  @ValidateNested()
  @Type(() => RoutingRuleMessage)
  routing!: RoutingRuleMessage;
}

export interface SubmitJobReply {
  jobId: string;
  state: JobState;
}
