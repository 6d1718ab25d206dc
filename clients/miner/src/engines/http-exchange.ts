import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { linkAbort } from './linked-abort';

export interface ExchangeOptions {
  /** What the server is called in messages. */
  name: string;
  url: string;
  /** `name:password`. */
  auth?: string;
  timeoutMs: number;
}

export interface Call {
  method: 'GET' | 'POST';
  /** Relative to the server's URL, with its query. */
  path: string;
  json?: unknown;
  /** A longer reply is refused, not read. */
  maxBytes?: number;
  signal?: AbortSignal;
  /** Instead of the usual patience; `undefined` leaves the end to `signal`. */
  timeoutMs?: number | undefined;
}

export interface Answer {
  status: number;
  body: Buffer;
}

/** Enough for a listing or a complaint; pictures bring their own limit. */
const MAX_JSON_BYTES = 16 * 1024 * 1024;
const CONNECT_MS = 5_000;
/** Python's usual server (uvicorn) closes idle connections after five seconds: ours must never be the later one. */
const KEEP_ALIVE_MS = 1_000;
/** A GET is asked again after these pauses: a moment's trouble must not cost a picture that is nearly done. */
const PAUSES_MS = [250, 1_000];
/** Of a server's own words, as much as helps. */
const MAX_QUOTE = 500;

/**
 * Requests to the operator's image server. Every reply is bounded in bytes and time. Only a GET is ever repeated: a POST
 * that got no answer may have been heard. Every failure says which server, which request, and what to look at.
 */
export class Exchange {
  readonly name: string;
  private readonly base: URL;
  private readonly agent = new Agent({ connect: { timeout: CONNECT_MS }, keepAliveTimeout: KEEP_ALIVE_MS });
  private readonly headers: Record<string, string>;

  constructor(private readonly options: ExchangeOptions) {
    this.name = `${options.name} at ${new URL(options.url).origin}`;
    this.base = new URL(options.url.endsWith('/') ? options.url : `${options.url}/`);
    this.headers = options.auth ? { authorization: `Basic ${Buffer.from(options.auth).toString('base64')}` } : {};
  }

  /** The answer, whatever its status. @throws Error where there is none, or `signal`'s reason. */
  async ask(call: Call): Promise<Answer> {
    const pauses = call.method === 'GET' ? [...PAUSES_MS] : [];
    for (;;) {
      try {
        return await this.once(call);
      } catch (error) {
        call.signal?.throwIfAborted();
        const pause = isPassing(error) ? pauses.shift() : undefined;
        if (pause === undefined) throw this.explain(call, error);
        await sleep(pause, undefined, call.signal && { signal: call.signal });
      }
    }
  }

  /** The answer's JSON. @throws Error where the status is not 200, or the body is no JSON. */
  async askJson(call: Call): Promise<unknown> {
    return this.parse(call, this.expectOk(call, await this.ask(call)));
  }

  /** @throws Error with the server's words where the status is not 200. */
  expectOk(call: Call, { status, body }: Answer): Buffer {
    if (status === 200) return body;
    if (status === 401) throw new Error(`${this.name} asks for a password: set MINER_HTTP_AUTH=name:password`);
    throw new Error(
      `${this.name} answers ${call.method} ${shown(call)} with ${status}: ${quote(body.toString('utf8'))}`,
    );
  }

  parse(call: Call, body: Buffer): unknown {
    try {
      return JSON.parse(body.toString('utf8'));
    } catch {
      throw new Error(
        `${this.name} answers ${call.method} ${shown(call)} with what is not JSON (${quote(body.toString('utf8', 0, 80))}): ` +
          `is MINER_HTTP_URL the address of its API, and MINER_HTTP_API the right one?`,
      );
    }
  }

  /** Ends every connection at once. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async once(call: Call): Promise<Answer> {
    const patience = 'timeoutMs' in call ? call.timeoutMs : this.options.timeoutMs;
    const end = linkAbort(call.signal, patience, () => new TooLate(`within ${patience} ms`));
    try {
      const { statusCode, body } = await request(new URL(call.path, this.base), {
        method: call.method,
        headers: { ...this.headers, ...(call.json !== undefined && { 'content-type': 'application/json' }) },
        ...(call.json !== undefined && { body: JSON.stringify(call.json) }),
        signal: end.signal,
        dispatcher: this.agent,
        // The signal ends it: a drawing may keep its headers back for minutes.
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      return { status: statusCode, body: await readCapped(body, call.maxBytes ?? MAX_JSON_BYTES) };
    } finally {
      end.release();
    }
  }

  private explain(call: Call, error: unknown): Error {
    const what = `${this.name} has not answered ${call.method} ${shown(call)}`;
    const cause = { cause: error };
    if (error instanceof TooLong) return new Error(`${this.name}: the reply to ${shown(call)} ${error.message}`, cause);
    if (error instanceof TooLate) return new Error(`${what} ${error.message}: see its own log`, cause);
    const why = error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code : String(error);
    return new Error(`${what} (${why}): is it running, and is MINER_HTTP_URL right?`, cause);
  }
}

/** A server's words, on one line and not too many. */
export function quote(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_QUOTE ? `${line.slice(0, MAX_QUOTE)}…` : line;
}

class TooLong extends Error {}
class TooLate extends Error {}

async function readCapped(body: AsyncIterable<unknown>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    // Leaving the loop destroys the stream, and with it the connection.
    if (length > maxBytes) throw new TooLong(`is longer than the ${maxBytes} bytes that it can need`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function isPassing(error: unknown): boolean {
  return !(error instanceof TooLong) && !(error instanceof TooLate);
}

function shown({ path }: Call): string {
  return `/${path.split('?')[0]}`;
}
