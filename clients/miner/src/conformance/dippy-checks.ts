/** The contract of the existing Dippy Studio miners, as far as it can be seen from outside. */
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import sharp from 'sharp';
import { type Check, Failure, Skip, demand } from './check';
import type { DippyDone, DippyProbe, DippySigning } from './dippy-probe';

/** Their gate refuses what is more than 8 s old. */
const STALE_MS = 30_000;
/** No seed is 0: theirs becomes 42. */
const SEED = 7;
const OTHER_SEED = 8;
/** Per byte; the same seed on the same GPU differs by less, another picture by tens. */
const SAME_PICTURE = 6;
const PART_ORDER = ['job_id', 'status', 'completed_at', 'error', 'image', 'image_url'];

function open(name: string, requirement: string, path: (probe: DippyProbe) => string, key: string, value: unknown) {
  return {
    name,
    requirement,
    async run(probe: DippyProbe) {
      const { status, json, text } = await probe.get(path(probe));
      const seen = `GET ${path(probe)} answers ${status} ${text}`;
      demand(status === 200 && json?.[key] === value, seen, `answer 200 with "${key}": ${JSON.stringify(value)}`);
    },
  } satisfies Check<DippyProbe>;
}

const identity: Check<DippyProbe> = {
  name: 'identity',
  requirement: 'GET /check/{hotkey} answers 200 for the miner itself and 404 for others.',
  async run(probe) {
    const { address } = probe.target.hotkey;
    const [own, other] = [await probe.get(`/check/${address}`), await probe.get('/check/another')];
    const change = `run the proxy with the hotkey ${address}`;
    demand(
      own.status === 200 && other.status === 404,
      `it answers ${own.status}, and ${other.status} for another`,
      change,
    );
  },
};

const capacity: Check<DippyProbe> = {
  name: 'capacity',
  requirement: 'GET /capacity, signed, answers an object of booleans, one of them true.',
  async run(probe) {
    const { status, json, text } = await probe.get('/capacity', {});
    const values = Object.values(json ?? {});
    const change = 'answer {"base-h100_pcie": true, …}; 403 means that this hotkey is not among the allowed senders';
    demand(status === 200 && values.every((value) => typeof value === 'boolean'), `${status} ${text}`, change);
    demand(values.includes(true), text, 'enable at least one');
  },
};

function refusal(name: string, requirement: string, how: () => DippySigning, change: string): Check<DippyProbe> {
  return {
    name,
    requirement,
    async run(probe) {
      const right = await probe.post({});
      const helps = right.status === 403 ? 'allow this hotkey as a sender' : 'verify signatures as the contract has it';
      demand(right.status === 422, `a rightly signed request without a prompt was answered ${right.status}`, helps);
      const { status } = await probe.post({}, how());
      demand(status === 401 || status === 403, `it was answered ${status}`, change);
    },
  };
}

function shape(name: string, field: string, wrong: object): Check<DippyProbe> {
  return {
    name,
    requirement: `A wrong ${field} is refused with 422 that names it.`,
    async run(probe) {
      const { prompt: _, ...rest } = probe.job(SEED).body;
      const { status, text } = await probe.post(field === 'prompt' ? rest : { prompt: 'p', ...rest, ...wrong });
      demand(status === 422 && text.includes(field), `it was answered ${status} ${text}`, `check ${field}`);
    },
  };
}

const inference: Check<DippyProbe> = {
  name: 'inference',
  requirement: 'A job is accepted with 200 or 202, and a callback says that it is completed.',
  async run(probe) {
    const { parts, answer } = await probe.done(SEED);
    const status = parts.get('status')?.toString();
    demand(
      status === 'completed',
      `status ${status}: ${parts.get('error')?.toString() ?? 'no error'}`,
      "see the model server's log",
    );
    return `accepted with ${answer.status}`;
  },
};

/** The result of the first job, for checks that are not about whether there is one. */
async function given(probe: DippyProbe, seed = SEED): Promise<DippyDone> {
  const done = await probe.done(seed).catch((error: unknown) => {
    if (error instanceof Failure) return undefined;
    throw error;
  });
  if (!done || done.parts.get('status')?.toString() !== 'completed')
    throw new Skip('there is no result: see inference');
  return done;
}

const acceptance: Check<DippyProbe> = {
  name: 'acceptance',
  requirement: '200 says accepted, job_id, status queued and both URLs; 202 says status queued.',
  async run(probe) {
    const { job, answer } = await given(probe);
    const { json, status, text } = answer;
    const told = json?.job_id === job.body.job_id || (status === 202 && json?.job_id === null);
    const urls =
      status === 202 ||
      (json?.accepted === true && typeof json.status_url === 'string' && typeof json.result_url === 'string');
    demand(
      json?.status === 'queued' && told && urls,
      `${status} ${text}`,
      'repeat the job_id of the request, and "status":"queued"',
    );
  },
};

const callbackForm: Check<DippyProbe> = {
  name: 'callback-form',
  requirement:
    'The callback is a POST with X-Callback-Secret; its parts are job_id, status, completed_at, image, image_url.',
  async run(probe) {
    const { job, arrival, parts } = await given(probe);
    const secret = arrival.headers['x-callback-secret'] === job.awaited.secret;
    demand(secret, 'X-Callback-Secret is missing or another', 'send callback_secret in it');
    demand(
      parts.get('job_id')?.toString() === job.body.job_id,
      'the part job_id is another',
      'send the job_id of the request',
    );
    const order = [...parts.keys()];
    const expected = PART_ORDER.filter((name) => parts.has(name));
    const complete = ['job_id', 'status', 'completed_at'].every((name) => parts.has(name));
    demand(
      complete && String(order) === String(expected),
      `the parts are ${order.join(', ')}`,
      `send ${PART_ORDER.join(', ')}`,
    );
    const time = parts.get('completed_at')!.toString();
    demand(!Number.isNaN(Date.parse(time)), `completed_at is ${time}`, 'send ISO 8601');
  },
};

const imagePresent: Check<DippyProbe> = {
  name: 'image-present',
  requirement: 'A completed callback carries the image, a PNG of the size asked for: without it the job has failed.',
  async run(probe) {
    const { job, parts } = await given(probe);
    const image = parts.get('image');
    const change = 'send the file itself as the part image; an image_url alone is not fetched';
    demand(image !== undefined && image.length > 0, image ? 'the image has no bytes' : 'there is no image', change);
    const facts = await sharp(image)
      .metadata()
      .catch(() => undefined);
    const { width, height } = job.body;
    const seen = facts ? `it is ${facts.format} ${facts.width}×${facts.height}` : 'it is no image';
    const right = facts?.format === 'png' && facts.width === width && facts.height === height;
    demand(right, seen, `send a PNG of ${String(width)}×${String(height)}`);
  },
};

const calledOnce: Check<DippyProbe> = {
  name: 'callback-once',
  requirement: 'A job calls back once.',
  async run(probe) {
    const { job } = await given(probe);
    // Another job behind it in the queue: what the first still had to say is said by then.
    await given(probe, OTHER_SEED);
    const { length } = job.awaited.arrivals;
    demand(length === 1, `${length} callbacks came`, 'send one; repeated ones are ignored');
  },
};

const seedHonoured: Check<DippyProbe> = {
  name: 'seed-honoured',
  requirement: 'Another seed gives another picture, the same seed the same: audits repeat jobs and compare.',
  async run(probe) {
    const one = await pixelsOf(await given(probe));
    const other = await pixelsOf(await given(probe, OTHER_SEED));
    demand(
      !one.equals(other),
      'two seeds gave the same picture',
      'hand the seed on to the model; give every job_id its own file',
    );
    const again = await probe.work(probe.job(SEED));
    const difference = meanDifference(one, await pixelsOf(again));
    const seen = `the same seed gave a picture that differs by ${difference.toFixed(1)} per byte`;
    demand(
      difference <= SAME_PICTURE,
      seen,
      'take the seed of the request; one model and one GPU type behind one miner',
    );
  },
};

const expiry: Check<DippyProbe> = {
  name: 'expiry-kept',
  requirement: 'After its expiry a job does not call back.',
  async run(probe) {
    const job = probe.expiredJob(SEED);
    const { status, text } = await probe.post(job.body);
    if (status !== 200 && status !== 202) throw new Skip(`a job past its expiry is refused: ${status} ${text}`);
    // One queue: when the next one is done, this one was.
    const next = await probe.work(probe.job(OTHER_SEED, { expiry: undefined })).catch(() => undefined);
    if (!next) throw new Skip('the job behind it brought no callback: see inference');
    demand(
      job.awaited.arrivals.length === 0,
      'it called back',
      'compare expiry (ISO 8601) with the clock before calling back',
    );
  },
};

const freshIds: Check<DippyProbe> = {
  name: 'running-id',
  requirement: 'The id of a job that is not finished is answered 409.',
  async run(probe) {
    const job = probe.job(SEED);
    const [first, second] = await Promise.all([probe.post(job.body), probe.post(job.body)]);
    const statuses = [first.status, second.status].sort();
    const accepted = statuses[0] === 200 || statuses[0] === 202;
    if (!accepted) throw new Skip('neither was accepted: see inference');
    await job.awaited.arrival(1, probe.target.patienceMs);
    if (statuses.every((status) => status === 200)) throw new Skip('the first had ended before the second came');
    demand([409, 202].includes(statuses[1]!), `they were answered ${statuses.join(' and ')}`, 'answer the second 409');
  },
};

async function pixelsOf({ parts }: DippyDone): Promise<Buffer> {
  const image = parts.get('image');
  if (!image?.length) throw new Skip('there is no picture: see image-present');
  const raw = sharp(image).removeAlpha().raw();
  const pixels = await raw.toBuffer().catch(() => undefined);
  if (!pixels) throw new Skip('there is no picture: see image-present');
  return pixels;
}

function meanDifference(one: Buffer, other: Buffer): number {
  if (one.length !== other.length) return 255;
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += Math.abs(one[i]! - other[i]!);
  return sum / one.length;
}

export const DIPPY_CHECKS: readonly Check<DippyProbe>[] = [
  open('health', 'GET / answers 200 healthy.', () => '/', 'status', 'healthy'),
  open('status', 'GET /status answers 200 and is ready for signatures.', () => '/status', 'epistula_ready', true),
  identity,
  capacity,
  refusal(
    'unsigned-refused',
    'A request without Epistula headers is refused.',
    () => ({ unsigned: true }),
    'answer 401',
  ),
  refusal(
    'wrong-recipient-refused',
    'A request for another miner is refused.',
    () => ({ recipient: hotkeyFromSeed('77'.repeat(32)).address }),
    'compare Epistula-Signed-For with your own hotkey',
  ),
  refusal(
    'stale-refused',
    'A request more than 8 s old is refused.',
    () => ({ nowMs: Date.now() - STALE_MS }),
    'compare Epistula-Timestamp with your clock',
  ),
  refusal(
    'changed-body-refused',
    'The signature covers every byte of the body.',
    () => ({ signedBody: '{ }' }),
    'verify sha256hex(body).uuid.timestamp.signedFor',
  ),
  shape('prompt-required', 'prompt', {}),
  shape('width-limits', 'width', { width: 63 }),
  shape('steps-limits', 'num_inference_steps', { num_inference_steps: 101 }),
  inference,
  acceptance,
  callbackForm,
  imagePresent,
  calledOnce,
  seedHonoured,
  expiry,
  freshIds,
];
