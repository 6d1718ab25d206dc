import type { WebhookBody } from '@studio/shared/contract/webhooks';
import { isStudioError, type StudioError } from '@studio/shared/domain/errors';
import { falError } from '../fal/fal-errors';
import type { StoredJob } from '../job.store';

/** What the result route of each door answers. */
export interface ResultRoute {
  /** @throws StudioError as JobViews.result */
  output: (job: StoredJob) => Promise<object> | object;
  failure: (error: StudioError) => object;
}

export const falFailure: ResultRoute['failure'] = (error) => falError(error, true).body;
export const v1Failure: ResultRoute['failure'] = (error) => error.toBody();

const UNREADABLE = 'the output could not be put into this message: ask for the result';

/** Made anew for every try: links in it are signed, and expire. */
export async function webhookMessage(job: StoredJob, { output, failure }: ResultRoute): Promise<WebhookBody> {
  const ids = { request_id: job.id, gateway_request_id: job.id };
  try {
    return { ...ids, status: 'OK', payload: await output(job) };
  } catch (error) {
    // The job's end is told all the same.
    if (!isStudioError(error)) return { ...ids, status: 'OK', payload: null, payload_error: UNREADABLE };
    return { ...ids, status: 'ERROR', error: error.message, payload: failure(error) };
  }
}
