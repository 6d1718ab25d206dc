/** A file becomes a receipt, or is refused: it may be any file. What it says is for the checks to judge. */
import { RECEIPT_FORMAT, type SignedReceipt } from '@studio/shared/contract/receipt';

/** The message says what could not be read, and what to do. Exit status 2. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

type Form = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Form>>;

const text: Form = (value) => typeof value === 'string';
const number: Form = (value) => typeof value === 'number';
const orNull =
  (form: Form): Form =>
  (value) =>
    value === null || form(value);
const object =
  (shape: Shape): Form =>
  (value) =>
    isObject(value) && Object.entries(shape).every(([name, form]) => form(value[name]));
const oneOf =
  (...forms: Form[]): Form =>
  (value) =>
    forms.some((form) => form(value));

const word: Shape = { hotkey: text, body_sha256: text, nonce: text, recipient: text, signature: text };
const reply = object({ ...word, form: (value) => value === 'reply', status: number });
const callback = object({ ...word, form: (value) => value === 'request', method: text, path: text, timestamp: text });
const file = object({ sha256: text, bytes: number, content_type: text, content_hash: text });

const RECEIPT: Shape = {
  format: text,
  orchestrator: text,
  issued_at: text,
  job_id: text,
  kind: text,
  engine: text,
  state: text,
  created_at: text,
  finished_at: text,
  input_sha256: text,
  input_file_sha256: text,
  seed: number,
  outputs: (value) => Array.isArray(value) && value.every(file),
  failure: orNull(object({ code: text, message: text })),
  miner: orNull(
    object({
      hotkey: text,
      dialect: text,
      attempt: number,
      sent_at: text,
      finished_at: text,
      raw_us: number,
      credit_us: number,
      net_us: number,
      signed: orNull(oneOf(reply, callback)),
    }),
  ),
  verdict: orNull(object({ outcome: text, reason: text, epoch: number, decided_at: text, corrected_by: orNull(text) })),
};

/** @param from names it in messages. @throws Unreadable */
export function readReceipt(content: string, from: string): SignedReceipt {
  const value = parsed(content);
  if (!isObject(value) || !isObject(value['receipt'])) throw notOne(from, 'it has no field receipt');
  const { receipt, signature, input } = value;
  if (receipt['format'] !== RECEIPT_FORMAT) {
    throw new Unreadable(
      `${from} is of the format ${JSON.stringify(receipt['format'])}, which this version does not know`,
    );
  }
  const wrong = Object.entries(RECEIPT).find(([name, form]) => !form(receipt[name]));
  if (wrong) throw notOne(from, `${wrong[0]} is missing or of another type`);
  if (!text(signature)) throw notOne(from, 'it has no signature');
  if (input !== undefined && !isObject(input)) throw notOne(from, 'its input is no object');
  return value as unknown as SignedReceipt;
}

function parsed(content: string): unknown {
  try {
    return JSON.parse(content) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notOne(from: string, why: string): Unreadable {
  return new Unreadable(`${from} is no receipt (${why}): save what GET /v1/jobs/{id}/receipt answers`);
}
