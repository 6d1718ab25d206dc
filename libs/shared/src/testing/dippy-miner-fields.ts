/** The fields of a Dippy Studio miner's two routes: bounds, defaults, and 422 in the form that FastAPI gives it. */

/** A job as the model server sees it: every default filled in. */
export interface DippyJob {
  prompt: string;
  lora_path: string;
  width: number;
  height: number;
  num_inference_steps: number;
  guidance_scale: number;
  /** What is rendered with: a null or 0 seed has become 42 for `/inference`. */
  seed: number;
  job_id: string | null;
  callback_url: string | null;
  callback_secret: string | null;
  /** Epoch milliseconds. */
  expiry: number | null;
  /** Why the work will fail; their `/edit` looks at its picture after it has accepted. */
  flaw?: string;
}

export interface FieldError {
  type: string;
  loc: ['body', string];
  msg: string;
  input: unknown;
}

type Body = Record<string, unknown>;

/** Their edited pictures keep about the photograph's size; one size is enough for a test. */
const EDIT_SIDE = 1024;
const FALLBACK_SEED = 42;

export function readInference(body: Body): DippyJob | FieldError[] {
  const form = new Form(body);
  const job = {
    ...shared(form),
    lora_path: form.text('lora_path') ?? '',
    width: form.number('width', 64, 2_048, 1_024, 'int'),
    height: form.number('height', 64, 2_048, 1_024, 'int'),
    guidance_scale: form.number('guidance_scale', 1, 20, 7, 'float'),
    seed: form.number('seed', -Infinity, Infinity, null, 'int') || FALLBACK_SEED,
  };
  return form.errors.length > 0 ? form.errors : job;
}

export function readEdit(body: Body): DippyJob | FieldError[] {
  const form = new Form(body);
  form.require('seed');
  const hasPicture = typeof body.image_url === 'string' || typeof body.image_b64 === 'string';
  const job = {
    ...shared(form),
    lora_path: '',
    width: EDIT_SIDE,
    height: EDIT_SIDE,
    guidance_scale: form.number('guidance_scale', 1, 20, 2.5, 'float'),
    seed: form.number('seed', -Infinity, Infinity, 0, 'int'),
    ...(!hasPicture && { flaw: 'Must provide either image_url or image_b64' }),
  };
  return form.errors.length > 0 ? form.errors : job;
}

function shared(form: Form) {
  form.require('prompt');
  return {
    prompt: form.text('prompt') ?? '',
    num_inference_steps: form.number('num_inference_steps', 1, 100, 28, 'int'),
    job_id: form.text('job_id'),
    callback_url: form.text('callback_url'),
    callback_secret: form.text('callback_secret'),
    expiry: form.time('expiry'),
  };
}

class Form {
  readonly errors: FieldError[] = [];

  constructor(private readonly body: Body) {}

  require(name: string): void {
    if (!(name in this.body)) this.fault('missing', name, 'Field required');
  }

  text(name: string): string | null {
    const value = this.body[name] ?? null;
    if (value === null || typeof value === 'string') return value;
    this.fault('string_type', name, 'Input should be a valid string');
    return null;
  }

  /** Text that is a number counts as one, as theirs does. */
  number<T extends number | null>(name: string, least: number, most: number, absent: T, kind: 'int' | 'float') {
    const given = this.body[name] ?? null;
    if (given === null) return absent as T & number;
    const value = typeof given === 'string' && given.trim() !== '' ? Number(given) : given;
    if (typeof value !== 'number' || !Number.isFinite(value) || (kind === 'int' && !Number.isInteger(value))) {
      this.fault(`${kind}_parsing`, name, `Input should be a valid ${kind === 'int' ? 'integer' : 'number'}`);
    } else if (value < least) {
      this.fault('greater_than_equal', name, `Input should be greater than or equal to ${least}`);
    } else if (value > most) {
      this.fault('less_than_equal', name, `Input should be less than or equal to ${most}`);
    }
    return Number(value);
  }

  /** ISO 8601; without a zone it is UTC. */
  time(name: string): number | null {
    const given = this.text(name);
    if (given === null) return null;
    const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(given) ? given : `${given}Z`;
    const isDate = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(given) && !Number.isNaN(Date.parse(zoned));
    if (isDate) return Date.parse(zoned);
    this.fault('datetime_from_date_parsing', name, 'Input should be a valid datetime or date');
    return null;
  }

  private fault(type: string, name: string, msg: string): void {
    this.errors.push({ type, loc: ['body', name], msg, input: this.body[name] ?? null });
  }
}
