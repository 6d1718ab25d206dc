import { reasonOf } from './request-failure';
import { MetagraphUnreadable, readMembers, type Members } from './uids';

/** 65,536 neurons of a kilobyte would be this; a subnet of 256 is 200 KiB. */
const MAX_BODY_BYTES = 64 * 1_024 * 1_024;

/** Pylon asks the chain where its own copy is old, which takes seconds. */
const TIMEOUT_MS = 30_000;

/** Statuses that will pass although they begin with a 4: timeout, too early, too many. */
const PASSING = new Set([408, 425, 429]);

/** The sidecar cannot be asked now, or its chain cannot: trying again is the remedy. */
export class PylonAway extends Error {
  override readonly name = 'PylonAway';
}

/** The sidecar understood, and says no: trying the same again changes nothing. */
export class PylonRefuses extends Error {
  override readonly name = 'PylonRefuses';
}

export interface PylonOptions {
  url: string;
  netuid: number;
  /** Whose wallet signs, as the sidecar's configuration names it (`PYLON_IDENTITIES`). */
  identity: string;
  /** Of that identity (`PYLON_ID_<NAME>_TOKEN`). */
  token: string;
}

/**
 * bittensor-pylon, the sidecar that holds the wallet and speaks to the chain. What is relied on is its v1 API, as its own
 * repository has it (bittensor-church/bittensor-pylon: `pylon_commons/v1/endpoints.py`, `_unstable/bodies.py`,
 * `pylon_service/api/v1/api.py`, `guards.py`, service-v2.0.0):
 *
 * - `PUT /api/v1/identity/{identity}/subnet/{netuid}/weights` with `Authorization: Bearer <the identity's token>` and
 *   `{"weights": {"<hotkey>": number, …}}`; 200 `{"detail": "weights update scheduled", "count": n}`; 400 for an empty or
 *   unreadable body, 401 without a token, 403 for a wrong one, 404 for an unknown identity.
 * - `GET /api/v1/identity/{identity}/subnet/{netuid}/block/latest/neurons` with the same token; before service-v1 its end was
 *   `neurons/latest`.
 *
 * 200 means *scheduled*: the sidecar itself commits or sets, and tries again until the chain's epoch ends. It scales by the
 * largest and rounds to 16 bits (turbobt), and sets a version key of its own.
 */
export class PylonClient {
  /** The end of the path that this sidecar's release knows. */
  private neuronsPath: string | undefined;

  constructor(private readonly options: PylonOptions) {}

  /** For messages; never contains the token. */
  get name(): string {
    return this.base();
  }

  /** Who is in the subnet, at the sidecar's newest block. @throws PylonAway, PylonRefuses, MetagraphUnreadable */
  async members(): Promise<Members> {
    const paths = this.neuronsPath ? [this.neuronsPath] : ['block/latest/neurons', 'neurons/latest'];
    for (const path of paths) {
      const { status, text } = await this.send('GET', path);
      if (status === 404 && path !== paths.at(-1)) continue;
      this.judge(status, text);
      this.neuronsPath = path;
      return readMembers(json(text));
    }
    throw new PylonRefuses(`${this.name} knows no neurons`);
  }

  /** The chain's newest block, as the sidecar sees it. @throws as `members`. */
  async block(): Promise<number> {
    const { block } = await this.members();
    if (block === null) throw new PylonRefuses(`${this.name} names no block: use --block-clock wall`);
    return block;
  }

  /** @returns how many weights the sidecar took. @throws PylonAway, PylonRefuses */
  async putWeights(weights: Readonly<Record<string, number>>): Promise<number> {
    const { status, text } = await this.send('PUT', 'weights', JSON.stringify({ weights }));
    this.judge(status, text);
    const { count } = (json(text) ?? {}) as { count?: unknown };
    if (typeof count !== 'number') throw new PylonRefuses(`${this.name} answers what pylon does not: is it one?`);
    return count;
  }

  private base(): string {
    const { url, identity, netuid } = this.options;
    return `${url.replace(/\/+$/, '')}/api/v1/identity/${encodeURIComponent(identity)}/subnet/${netuid}`;
  }

  private async send(method: 'GET' | 'PUT', path: string, body?: string): Promise<{ status: number; text: string }> {
    const url = `${this.base()}/${path}`;
    try {
      const reply = await fetch(url, {
        method,
        headers: {
          accept: 'application/json',
          authorization: `Bearer ${this.options.token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return { status: reply.status, text: await bounded(reply) };
    } catch (error) {
      throw new PylonAway(`${url} does not answer: ${reasonOf(error)}`, { cause: error });
    }
  }

  private judge(status: number, text: string): void {
    if (status === 200) return;
    const said = `${this.name} answers ${status}${detail(text)}`;
    if (status >= 500 || PASSING.has(status)) throw new PylonAway(said);
    throw new PylonRefuses(`${said}${remedy(status)}`);
  }
}

function remedy(status: number): string {
  if (status === 401 || status === 403) return ': PYLON_TOKEN has to be the token of this identity';
  if (status === 404) return ': see --pylon-identity and --netuid, and PYLON_IDENTITIES of the sidecar';
  return '';
}

/** Litestar's error bodies have their reason in `detail`. */
function detail(text: string): string {
  const said = json(text);
  const reason = typeof said === 'object' && said !== null ? (said as { detail?: unknown }).detail : undefined;
  return typeof reason === 'string' ? ` (${reason.slice(0, 200)})` : '';
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

async function bounded(reply: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BODY_BYTES) throw new RangeError(`the body is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Everything of the sidecar or a metagraph file that may be better next time. */
export const isPassing = (error: unknown): boolean =>
  error instanceof PylonAway || error instanceof MetagraphUnreadable;
