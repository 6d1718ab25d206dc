import type { ByteStore } from './byte-store';
import type { JobRequest } from './job-request';
import { attemptKey } from './job-request';
import type { ResultForm } from './result-form';

/** An attempt that was accepted with 202: its result is owed even by a miner that was restarted meanwhile. */
export interface AcceptedAttempt {
  request: JobRequest;
  /** Unix time in milliseconds; later a result is worth nothing. */
  deadlineMs: number;
  /** Who signed the request: the callback is signed for it. Absent where the request was not signed. */
  orchestrator?: string;
}

/** A job lives three times its timeout; the longest of this engine is under an hour (task-kinds). */
export const KEEP_MS = 3 * 60 * 60 * 1000;

const ACCEPTED = '.accepted';
const RESULT = '.result';

/**
 * What this miner owes and what it has made, on disk: `<job>.<attempt>.accepted` from the 202 until the result was
 * delivered, `<job>.<attempt>.result` for whoever repeats the request.
 */
export class JobBook {
  private constructor(
    private readonly store: ByteStore,
    /** Keys with a result. In memory, so that the desk can decide between two awaits. */
    private readonly finished: Set<string>,
  ) {}

  static async open(store: ByteStore): Promise<JobBook> {
    const results = (await store.names()).filter((name) => name.endsWith(RESULT));
    return new JobBook(store, new Set(results.map((name) => name.slice(0, -RESULT.length))));
  }

  hasResult(key: string): boolean {
    return this.finished.has(key);
  }

  /** Written before the 202 is sent: what is accepted is not forgotten. */
  async accept(attempt: AcceptedAttempt): Promise<void> {
    await this.store.write(attemptKey(attempt.request) + ACCEPTED, JSON.stringify(attempt));
  }

  async settle(key: string): Promise<void> {
    await this.store.remove(key + ACCEPTED);
  }

  /** Accepted attempts whose result was not delivered. */
  async owed(): Promise<AcceptedAttempt[]> {
    const names = (await this.store.names()).filter((name) => name.endsWith(ACCEPTED));
    const files = await Promise.all(names.map((name) => this.store.read(name)));
    return files.flatMap((file) => (file ? [JSON.parse(file.toString()) as AcceptedAttempt] : []));
  }

  async keepResult(key: string, { contentType, body }: ResultForm): Promise<void> {
    await this.store.write(key + RESULT, Buffer.concat([Buffer.from(`${contentType}\n`), body]));
    this.finished.add(key);
  }

  async result(key: string): Promise<ResultForm | undefined> {
    const file = await this.store.read(key + RESULT);
    if (!file) return undefined;
    const line = file.indexOf('\n');
    return { contentType: file.toString('utf8', 0, line), body: file.subarray(line + 1) };
  }

  /** Forgets what no orchestrator can ask for any more. */
  async prune(nowMs: number): Promise<void> {
    await this.store.removeOlderThan(nowMs - KEEP_MS);
    const left = new Set(await this.store.names());
    for (const key of this.finished) if (!left.has(key + RESULT)) this.finished.delete(key);
  }
}
