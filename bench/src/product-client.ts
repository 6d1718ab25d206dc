import type { JobView, UploadView } from '@studio/shared/contract/job-view';
import { Pool } from 'undici';
import { WIDTH } from './contender';
import type { Product } from './product-system';
import { jobBody, loraFile } from './workload';

/** Seconds of one long poll, longer than any job of the benchmark takes. */
const WAIT_S = 25;

/** A client of the public HTTP API, with as many connections as jobs under way. */
export class ProductClient {
  private readonly pool: Pool;
  private readonly headers: Record<string, string>;
  private loraUrl = '';

  constructor({ apiUrl, apiKey }: Product) {
    // A submit must not wait for a long poll to free its connection.
    this.pool = new Pool(apiUrl, { connections: 4 * WIDTH });
    this.headers = { authorization: `Key ${apiKey}` };
  }

  /** Before the first job: the LoRA that all jobs name. */
  async uploadLora(): Promise<void> {
    const headers = { ...this.headers, 'content-type': 'application/octet-stream' };
    const upload = await this.json<UploadView>('POST', '/v1/artifacts', headers, loraFile());
    this.loraUrl = upload.url;
  }

  async submit(seed: number): Promise<JobView> {
    const headers = { ...this.headers, 'content-type': 'application/json' };
    return this.json<JobView>('POST', '/v1/jobs', headers, JSON.stringify(jobBody(this.loraUrl, seed)));
  }

  /** Resolves when the job has ended. @throws Error unless it succeeded. */
  async finished(id: string): Promise<void> {
    for (;;) {
      const { state, failure } = await this.json<JobView>('GET', `/v1/jobs/${id}?wait=${WAIT_S}`, this.headers);
      if (state === 'succeeded') return;
      if (failure) throw new Error(`job ${id} ended as ${state}: ${failure.message}`);
    }
  }

  close(): Promise<void> {
    return this.pool.destroy();
  }

  private async json<T>(
    method: 'GET' | 'POST',
    path: string,
    headers: Record<string, string>,
    body?: string | Uint8Array,
  ): Promise<T> {
    const reply = await this.pool.request({ method, path, headers, body: body ?? null });
    const text = await reply.body.text();
    if (reply.statusCode >= 300)
      throw new Error(`${method} ${path} answered ${reply.statusCode}: ${text.slice(0, 300)}`);
    return JSON.parse(text) as T;
  }
}
