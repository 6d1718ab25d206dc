import type { StudioError } from '@studio/shared/domain/errors';
import type { Egress } from '@studio/shared/platform/egress';
import { EgressError } from '@studio/shared/platform/egress-error';
import { fieldError } from './job-input';

/** A client waits for it, and its own time-outs begin at half a minute. */
const DEADLINE_MS = 20_000;

/** Files that requests name by a URL of somebody else's: fetched once, when the job is submitted, by the one way out. */
export class RemoteFiles {
  constructor(private readonly egress: Pick<Egress, 'request'>) {}

  /**
   * @param path the field that names it.
   * @throws StudioError UNSUPPORTED_URL for what cannot be had there, saying why.
   */
  async fetch(url: string, path: string, maxBytes: number): Promise<Buffer> {
    try {
      const reply = await this.egress.request({ url, method: 'GET', deadlineMs: DEADLINE_MS, maxBytes });
      if (reply.status !== 200) {
        reply.discard();
        const why =
          reply.status >= 300 && reply.status < 400 ? 'redirects, which is not followed' : `answers ${reply.status}`;
        throw refusal(path, why);
      }
      const chunks: Buffer[] = [];
      for await (const chunk of reply.body) chunks.push(chunk);
      return Buffer.concat(chunks);
    } catch (error) {
      throw error instanceof EgressError ? refusal(path, `cannot be fetched (${error.message})`) : error;
    }
  }
}

function refusal(path: string, why: string): StudioError {
  return fieldError(
    'UNSUPPORTED_URL',
    path,
    `${why}: send a public URL of the file itself, or upload it and send the url that this returns`,
  );
}
