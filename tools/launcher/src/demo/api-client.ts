/** The demo's client of the public HTTP API. Repeats what a restarting service cut short: submits carry an Idempotency-Key. */
import { Agent, interceptors, request, type Dispatcher } from 'undici';
import type { JobView, ResultView, UploadView } from '@studio/shared/contract/job-view';
import type { SubmitJobBody } from '@studio/shared/contract/submit-job';

/** Seconds of one long poll; the API answers earlier when the job ends. */
const WAIT_S = 20;

/** Ten seconds in all: longer than a service needs to be started again. */
const RETRIES = { maxRetries: 24, minTimeout: 100, timeoutFactor: 1.5, maxTimeout: 1_000 };

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export class ApiClient {
  private readonly dispatcher: Dispatcher = new Agent({ connections: 64 }).compose(
    interceptors.retry({ ...RETRIES, methods: ['GET', 'POST'], statusCodes: [429, 502, 503] }),
  );

  constructor(
    readonly baseUrl: string,
    readonly key: string,
  ) {}

  async upload(bytes: Buffer, contentType: string): Promise<UploadView> {
    return this.json<UploadView>('POST', '/v1/artifacts', bytes, { 'content-type': contentType });
  }

  async submit(body: SubmitJobBody, idempotencyKey: string): Promise<JobView> {
    return this.json<JobView>('POST', '/v1/jobs', JSON.stringify(body), {
      'content-type': 'application/json',
      'idempotency-key': idempotencyKey,
    });
  }

  job(id: string): Promise<JobView> {
    return this.json<JobView>('GET', `/v1/jobs/${id}`);
  }

  /** Waits for the job's end and returns its final view, whatever that is. */
  async finished(id: string): Promise<JobView> {
    for (;;) {
      const view = await this.json<JobView>('GET', `/v1/jobs/${id}?wait=${WAIT_S}`);
      if (view.finished_at) return view;
    }
  }

  result(id: string): Promise<ResultView> {
    return this.json<ResultView>('GET', `/v1/jobs/${id}/result`);
  }

  /** Signed URLs need no key. */
  async download(url: string): Promise<Buffer> {
    const response = await request(url, { dispatcher: this.dispatcher });
    const bytes = Buffer.from(await response.body.arrayBuffer());
    if (response.statusCode !== 200) throw apiError(response.statusCode, bytes.toString());
    return bytes;
  }

  close(): Promise<void> {
    return this.dispatcher.close();
  }

  private async json<T>(
    method: 'GET' | 'POST',
    path: string,
    body?: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const response = await request(`${this.baseUrl}${path}`, {
      method,
      body,
      headers: { ...headers, authorization: `Key ${this.key}` },
      dispatcher: this.dispatcher,
    });
    const text = await response.body.text();
    if (response.statusCode >= 400) throw apiError(response.statusCode, text);
    return JSON.parse(text) as T;
  }
}

function apiError(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as {
      error: { code: string; message: string; fields?: { path: string; message: string }[] };
    };
    const fields = (error.fields ?? []).map((field) => `${field.path}: ${field.message}`);
    return new ApiError(status, error.code, [error.message, ...fields].join('; '));
  } catch {
    return new ApiError(status, 'UNREADABLE', `status ${status}: ${text.slice(0, 200)}`);
  }
}
