import type { Egress } from '@studio/shared/platform/egress';
import { EgressError } from '@studio/shared/platform/egress-error';
import { fieldError } from '../job-input';

/** Whose words the payload has: those of the door by which the job came. */
export type WebhookForm = 'fal' | 'v1';

export interface Webhook {
  url: string;
  form: WebhookForm;
}

export type UrlJudge = Pick<Egress, 'assertUrl'>;

/**
 * What can be refused at once is; where a name leads is judged at each delivery, when the connection is made.
 * @throws StudioError INVALID_INPUT naming `webhook_url`
 */
export function webhookOf(url: string | undefined, form: WebhookForm, egress: UrlJudge): Webhook | null {
  if (url === undefined) return null;
  try {
    egress.assertUrl(url);
  } catch (error) {
    if (!(error instanceof EgressError)) throw error;
    const message = `cannot be delivered to (${error.message}): send an http or https URL that everybody can reach`;
    throw fieldError('INVALID_INPUT', 'webhook_url', message);
  }
  // Every spelling of one address in one form, and nothing but ASCII.
  return { url: new URL(url).href, form };
}
