import 'reflect-metadata';
import { MinerInferenceInput, MinerJobRequest, MinerTrainingInput } from '@studio/shared/contract/miner-job';
import type { MinerOffer } from '@studio/shared/contract/miners';
import type { FieldProblem } from '@studio/shared/domain/errors';
import { type TaskLimits, findTaskKind } from '@studio/shared/domain/task-kinds';
import { plainToInstance } from 'class-transformer';
import { type ValidationError, validateSync } from 'class-validator';

/** A request by kind, its input typed. */
export type JobRequest =
  | (Omit<MinerJobRequest, 'kind' | 'input'> & { kind: 'lora-training'; input: MinerTrainingInput })
  | (Omit<MinerJobRequest, 'kind' | 'input'> & { kind: 'lora-inference'; input: MinerInferenceInput });

/** Reads the body of `POST /v1/jobs`. Returns the request, or every wrong field. */
export function readJobRequest(body: unknown, offers: readonly MinerOffer[]): JobRequest | FieldProblem[] {
  const request = plainToInstance(MinerJobRequest, body);
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    return [{ path: '', message: 'the body must be a JSON object' }];
  }
  const problems = check(request);
  if (problems.length > 0) return problems;
  const { kind, engine } = request;
  const limits = findTaskKind(kind, engine)?.limits;
  if (!limits || !offers.some((offer) => offer.kind === kind && offer.engine === engine)) {
    return [{ path: 'engine', message: `this miner does not offer ${kind} on ${engine}: see GET /v1/capacity` }];
  }
  return kind === 'lora-training'
    ? complete(request, plainToInstance(MinerTrainingInput, request.input), limits)
    : complete(request, plainToInstance(MinerInferenceInput, request.input), limits);
}

/** The name of the attempt in this miner: the contract's idempotency key. */
export function attemptKey({ job_id: jobId, attempt }: Pick<MinerJobRequest, 'job_id' | 'attempt'>): string {
  return `${jobId.toLowerCase()}.${attempt}`;
}

function complete(
  request: MinerJobRequest,
  input: MinerTrainingInput | MinerInferenceInput,
  limits: TaskLimits,
): JobRequest | FieldProblem[] {
  const problems = [...check(input, 'input.'), ...outOfBounds(input, limits)];
  return problems.length > 0 ? problems : ({ ...request, input } as JobRequest);
}

function outOfBounds(input: MinerTrainingInput | MinerInferenceInput, limits: TaskLimits): FieldProblem[] {
  const bounds: [string, number, [number, number]][] =
    input instanceof MinerTrainingInput
      ? [
          ['resolution', input.resolution, limits.resolution],
          ['steps', input.steps, limits.steps],
          ['rank', input.rank, limits.rank],
        ]
      : [
          ['width', input.width, limits.side],
          ['height', input.height, limits.side],
          ['num_images', input.num_images, limits.numImages],
        ];
  return bounds.flatMap(([field, value, [min, max]]) =>
    value < min || value > max ? [{ path: `input.${field}`, message: `must be from ${min} to ${max}` }] : [],
  );
}

function check(value: object, prefix = ''): FieldProblem[] {
  return validateSync(value).flatMap((error) => flatten(error, prefix));
}

function flatten({ property, constraints, children }: ValidationError, prefix: string): FieldProblem[] {
  const own = Object.values(constraints ?? {}).map((message) => ({ path: prefix + property, message }));
  return [...own, ...(children ?? []).flatMap((child) => flatten(child, `${prefix}${property}.`))];
}
