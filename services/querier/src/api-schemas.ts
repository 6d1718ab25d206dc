/**
 * What crosses the clients' doors, as JSON Schema. Requests come from the very classes that check them; replies are written down here, and
 * api-document.db.spec.ts holds real replies to them, where a field too many is an error like one too few.
 */
import { InferenceRequest, SubmitJobBody, TrainingRequest } from '@studio/shared/contract/submit-job';
import { WEBHOOK_STATES } from '@studio/shared/contract/webhooks';
import { ERRORS } from '@studio/shared/domain/errors';
import type { AttemptState, Blame } from '@studio/shared/domain/job';
import { JOB_STATES } from '@studio/shared/domain/job-state';
import { ENGINES, JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { targetConstructorToSchema } from 'class-validator-jsonschema';
import { IMAGE_SIZES } from './fal/fal-apps';
import { FalInference, FalLora, FalSize, FalTraining } from './fal/fal-requests';

export type JsonSchema = Record<string, unknown>;

const PREFIX = '#/components/schemas/';
/** A name that is none is found by the document's test. */
export const refTo = (name: string): { $ref: string } => ({ $ref: `${PREFIX}${name}` });

const REQUESTS = { SubmitJobBody, TrainingRequest, InferenceRequest, FalTraining, FalInference, FalLora, FalSize };

function requestSchemas(): Record<string, JsonSchema> {
  const schemas = Object.fromEntries(
    Object.entries(REQUESTS).map(([name, type]) => [name, targetConstructorToSchema(type) as JsonSchema]),
  );
  const fields = schemas.FalInference?.properties as Record<string, JsonSchema>;
  fields.loras = { ...fields.loras, items: refTo('FalLora') };
  fields.image_size = { anyOf: [oneOf(Object.keys(IMAGE_SIZES)), refTo('FalSize')] };
  return schemas;
}

const text: JsonSchema = { type: 'string' };
const time: JsonSchema = { type: 'string', format: 'date-time' };
const link: JsonSchema = { type: 'string', format: 'uri' };
const whole: JsonSchema = { type: 'integer' };
const number: JsonSchema = { type: 'number' };
const orNull = (schema: JsonSchema): JsonSchema => ({ anyOf: [schema, { type: 'null' }] });
const listOf = (items: JsonSchema): JsonSchema => ({ type: 'array', items });
const oneOf = (values: readonly string[]): JsonSchema => ({ type: 'string', enum: [...values] });

const ATTEMPT_STATES = ['open', 'accepted', 'invalid', 'failed', 'busy', 'timeout', 'superseded', 'cancelled'] as const satisfies readonly AttemptState[]; // prettier-ignore
const BLAMES = ['none', 'miner', 'network', 'ours'] as const satisfies readonly Blame[];

/** Every field is there, but for those named as optional. */
function record(properties: Record<string, JsonSchema>, optional: readonly string[] = []): JsonSchema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

const FILE = { url: link, sha256: text, content_type: text, file_size: whole };
const FAL_FILE = { url: text, content_type: text, file_name: text, file_size: orNull(whole) };
const FAL_URLS = { response_url: link, status_url: link, cancel_url: link };

/** What a miner signs, in either form (contract/receipt.ts). */
const WORD = { form: text, hotkey: text, body_sha256: text, nonce: text, recipient: text, signature: text };

const REPLIES: Record<string, JsonSchema> = {
  Problem: record({
    error: record({
      code: oneOf(Object.keys(ERRORS)),
      message: text,
      fields: listOf(record({ path: text, message: text })),
    }),
  }),
  Webhook: record({
    id: text,
    url: link,
    state: oneOf(WEBHOOK_STATES),
    attempts: whole,
    last_attempt_at: orNull(time),
    last_status: orNull(whole),
    last_error: orNull(text),
    next_attempt_at: orNull(time),
    created_at: time,
    ended_at: orNull(time),
  }),
  WebhookList: record({ webhooks: listOf(refTo('Webhook')) }),
  Jwks: record({ keys: listOf(record({ kty: text, crv: text, x: text, kid: text, use: text, alg: text })) }),
  File: record(FILE),
  Image: record({ ...FILE, width: whole, height: whole }),
  Attempt: record({
    attempt: whole,
    hotkey: text,
    operator: text,
    dialect: oneOf(['native', 'dippy']),
    state: oneOf(ATTEMPT_STATES),
    blame: oneOf(BLAMES),
    reason: orNull(text),
    hedge: { type: 'boolean' },
    sent_at: time,
    finished_at: orNull(time),
    raw_ms: orNull(number),
    credit_ms: orNull(number),
    net_ms: orNull(number),
    progress: orNull(record({ step: whole, total: whole, at: time })),
  }),
  Job: record({
    id: text,
    kind: oneOf(JOB_KINDS),
    engine: oneOf(ENGINES),
    state: oneOf(JOB_STATES),
    created_at: time,
    deadline_at: time,
    finished_at: orNull(time),
    queue_position: orNull(whole),
    eta: orNull(refTo('Eta')),
    failure: orNull(record({ code: text, message: text })),
    attempts: listOf(refTo('Attempt')),
    urls: record({ status: link, result: link, cancel: link }),
  }),
  Eta: record({ median_seconds: number, p95_seconds: number }),
  Quote: record({
    kind: oneOf(JOB_KINDS),
    engine: oneOf(ENGINES),
    miners: whole,
    slots: whole,
    queued: whole,
    eta: orNull(refTo('Eta')),
    timeout_seconds: number,
    deadline_seconds: number,
  }),
  JobList: record({ jobs: listOf(refTo('Job')), next: orNull(text) }),
  Result: record(
    { id: text, lora: refTo('File'), image: refTo('Image'), images: listOf(refTo('Image')), seed: whole },
    ['lora', 'image', 'images'],
  ),
  SignedReceipt: record({ receipt: refTo('Receipt'), signature: text, input: { type: 'object' } }),
  Receipt: record({
    format: text,
    orchestrator: text,
    issued_at: time,
    job_id: text,
    kind: oneOf(JOB_KINDS),
    engine: oneOf(ENGINES),
    state: oneOf(JOB_STATES),
    created_at: time,
    finished_at: time,
    input_sha256: text,
    input_file_sha256: text,
    seed: whole,
    outputs: listOf(record({ sha256: text, bytes: whole, content_type: text, content_hash: text })),
    failure: orNull(record({ code: text, message: text })),
    miner: orNull(refTo('ReceiptMiner')),
    verdict: orNull(
      record({ outcome: text, reason: text, epoch: whole, decided_at: time, corrected_by: orNull(text) }),
    ),
  }),
  ReceiptMiner: record({
    hotkey: text,
    dialect: oneOf(['native', 'dippy']),
    attempt: whole,
    sent_at: time,
    finished_at: time,
    raw_us: whole,
    credit_us: whole,
    net_us: whole,
    signed: orNull({
      anyOf: [record({ ...WORD, status: whole }), record({ ...WORD, method: text, path: text, timestamp: text })],
    }),
  }),
  FalLog: record({ message: text, level: oneOf(['INFO', 'WARNING', 'ERROR']), source: text, timestamp: time, labels: record({}) }), // prettier-ignore
  FalStatus: record(
    {
      status: oneOf(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']),
      request_id: text,
      ...FAL_URLS,
      logs: listOf(refTo('FalLog')),
      queue_position: whole,
      progress: record({ step: whole, total: whole }),
      eta: refTo('Eta'),
      metrics: record({ inference_time: orNull(number) }),
      error: text,
      error_type: text,
    },
    ['logs', 'queue_position', 'progress', 'eta', 'metrics', 'error', 'error_type'],
  ),
  FalTrained: record({ diffusers_lora_file: refTo('FalFile'), config_file: refTo('FalFile') }),
  FalRendered: record({
    images: listOf(refTo('FalImage')),
    timings: record({ inference: number }),
    seed: whole,
    has_nsfw_concepts: listOf({ type: 'boolean' }),
    prompt: text,
  }),
  FalFile: record(FAL_FILE),
  FalImage: record({ ...FAL_FILE, width: whole, height: whole }),
  FalUpload: record({ upload_url: link, file_url: link }),
  FalPart: record({ partNumber: whole, etag: text }),
  /** Of fields with 422; a text and a type otherwise. */
  FalProblem: record(
    {
      detail: {
        anyOf: [
          text,
          listOf(record({ loc: listOf({ type: ['string', 'integer'] }), msg: text, type: text, ctx: record({}) })),
        ],
      },
      error_type: text,
    },
    ['error_type'],
  ),
};

export function apiSchemas(): Record<string, JsonSchema> {
  return { ...requestSchemas(), ...REPLIES };
}
