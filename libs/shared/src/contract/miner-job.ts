/**
 * The native miner contract, v1. The orchestrator POSTs `MinerJobRequest` as JSON to `{endpoint}/v1/jobs`; the miner
 * answers 200 with `multipart/form-data` (part `manifest`, JSON `MinerManifest`, then one part per file), or 202 and
 * later POSTs the same multipart form to `callback.url`, with `callback.secret` in the header `x-callback-secret`.
 *
 * Both sides sign (protocol/signatures.ts, headers `x-studio-*`), each naming the other's hotkey as the recipient:
 *
 * - every request, `DELETE /v1/jobs/{job_id}` included, is signed by the orchestrator, with a fresh nonce each time, over
 *   `method|path|sha256hex(body)|timestamp|nonce|recipient`;
 * - a 200 is signed by the miner over `200|sha256hex(body)|nonce of the request|recipient`, the body as it is sent. Without
 *   it, or with a wrong one, the result is not taken and the attempt is invalid. 202, 429 and errors need none;
 * - a callback is signed by the miner as a request of its own: method POST, the path of `callback.url` with its query. An
 *   unsigned or wrongly signed one is refused with 401 and changes nothing, so that it can be sent again, signed.
 *
 * While it works a miner may tell how far it is (`MinerProgress`).
 *
 * What was verified is kept as the miner's receipt (contract/receipt.ts). A callback's reply is `{accepted, reason?}`; 409
 * says that the attempt is closed; 5xx and 429 ask to try again.
 *
 * 429: busy, no penalty, but the turn is used. Anything else, 422 on an input that the schema allows included, is a
 * failed attempt. `job_id` + `attempt` is the idempotency key: a repeated request joins the running one or gets the
 * stored result, signed for the new nonce; it is never run twice.
 */
import 'reflect-metadata';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsDefined,
  IsIn,
  IsInt,
  IsNumber,
  IsObject,
  IsOptional,
  IsString,
  IsUUID,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import type { Engine, JobKind } from '../domain/job';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

export const CALLBACK_SECRET_HEADER = 'x-callback-secret';
export const MANIFEST_PART = 'manifest';
export const LORA_PART = 'lora';
/** Images are parts `image_0`, `image_1`, … in order. */
export const imagePart = (index: number): string => `image_${index}`;

/** More than any task has; small enough for every kind of integer. */
const MAX_PROGRESS_STEPS = 1_000_000;

/** An input file: fetched from `url` with GET and no credentials; `sha256` of its bytes is what it must be. */
export class InputFile {
  @IsString()
  url!: string;

  @Matches(/^[0-9a-f]{64}$/)
  sha256!: string;

  @IsInt()
  @Min(1)
  bytes!: number;
}

export class MinerTrainingInput {
  /** A square RGB PNG of `resolution` × `resolution` pixels. */
  @IsDefined()
  @ValidateNested()
  @Type(() => InputFile)
  image!: InputFile;

  @IsInt()
  resolution!: number;

  @IsInt()
  @Min(1)
  steps!: number;

  @IsInt()
  @Min(1)
  rank!: number;

  @IsInt()
  @Min(0)
  @Max(2 ** 32 - 1)
  seed!: number;
}

export class MinerInferenceInput {
  @IsDefined()
  @ValidateNested()
  @Type(() => InputFile)
  lora!: InputFile;

  @IsString()
  prompt!: string;

  @IsInt()
  width!: number;

  @IsInt()
  height!: number;

  @IsInt()
  @Min(0)
  @Max(2 ** 32 - 1)
  seed!: number;

  @IsNumber()
  lora_scale!: number;

  @IsNumber()
  warp!: number;

  /** Image i is rendered with seed (seed + i) mod 2³². */
  @IsInt()
  @Min(1)
  num_images!: number;
}

export class MinerCallback {
  @IsString()
  url!: string;

  /** Sent back in the header `x-callback-secret`. */
  @IsString()
  secret!: string;
}

export class MinerJobRequest {
  @IsUUID()
  job_id!: string;

  @IsInt()
  @Min(1)
  attempt!: number;

  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsIn(ENGINES)
  engine!: Engine;

  /** MinerTrainingInput or MinerInferenceInput, by `kind`. */
  @IsObject()
  input!: MinerTrainingInput | MinerInferenceInput;

  /** T_max: later results are worth nothing, and the connection is closed. */
  @IsInt()
  @Min(1)
  timeout_ms!: number;

  @IsDefined()
  @ValidateNested()
  @Type(() => MinerCallback)
  callback!: MinerCallback;
}

/**
 * What a miner may POST to `{callback.url}/progress` while it works, once a second at most, with the secret in the header and
 * unsigned: the client sees it, and nothing else comes of it. 204: noted, or too soon after the last; 409: the attempt is closed.
 */
export class MinerProgress {
  @IsInt()
  @Min(0)
  @Max(MAX_PROGRESS_STEPS)
  step!: number;

  @IsInt()
  @Min(1)
  @Max(MAX_PROGRESS_STEPS)
  total!: number;
}

/** Part `manifest` of a result, in a 200 reply or a callback. */
export class MinerManifest {
  @IsUUID()
  job_id!: string;

  @IsInt()
  @Min(1)
  attempt!: number;

  @IsIn(['completed', 'failed'])
  status!: 'completed' | 'failed';

  @IsOptional()
  @IsString()
  error?: string;

  /** Names of the file parts that follow. */
  @IsArray()
  @ArrayMaxSize(8)
  @IsString({ each: true })
  files!: string[];
}

/** 202: the result will come by callback. */
export interface MinerAcceptance {
  accepted: true;
  job_id: string;
  attempt: number;
}

/** `GET {endpoint}/v1/capacity`. */
export interface MinerCapacity {
  kinds: Partial<Record<JobKind, { engines: Engine[]; slots: number }>>;
}
