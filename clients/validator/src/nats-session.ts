import { randomUUID } from 'node:crypto';
import type { RegistryIdentity } from '@studio/shared/contract/miners';
import type { ValidatorSession, ValidatorSessionRequest } from '@studio/shared/contract/validator-session';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';

/** Also the longest that an end waits: a request that is given up on leaves a connection that holds up the registry's end. */
const TIMEOUT_MS = 5_000;
const LONGEST_COMPLAINT = 300;

/** No session now, in the registry's words. */
export class SessionRefused extends Error {
  override readonly name = 'SessionRefused';
}

/** Where a validator's signature gets it a token for NATS. */
export class SessionDoor {
  constructor(
    private readonly registryUrl: string,
    private readonly hotkey: Hotkey,
  ) {}

  /** @throws SessionRefused, or the error of a request that was not answered. */
  async open(wanted: ValidatorSessionRequest): Promise<ValidatorSession> {
    // Asked every time, a few times an hour: a registry may get another key.
    const { hotkey: recipient } = (await this.send('GET', '/v1/identity')) as RegistryIdentity;
    const path = `/v1/validators/${this.hotkey.address}/session`;
    const body = JSON.stringify(wanted);
    const headers = signRequest(
      { method: 'POST', path, body, nowMs: Date.now(), nonce: randomUUID(), recipient },
      this.hotkey,
    );
    return (await this.send('POST', path, { body, headers })) as ValidatorSession;
  }

  private async send(
    method: string,
    path: string,
    signed?: { body: string; headers: Record<string, string> },
  ): Promise<unknown> {
    const reply = await fetch(new URL(path, this.registryUrl), {
      method,
      body: signed?.body,
      headers: { ...signed?.headers, ...(signed && { 'content-type': 'application/json' }) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: 'error',
    });
    const text = await reply.text();
    if (!reply.ok) throw new SessionRefused(complaint(reply.status, text));
    return JSON.parse(text) as unknown;
  }
}

/** The message of our error form, or the first of whatever else it is. */
function complaint(status: number, text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    if (typeof error?.message === 'string') return error.message.slice(0, LONGEST_COMPLAINT);
  } catch {
    // not JSON: shown as it is
  }
  return `status ${status}: ${text.slice(0, LONGEST_COMPLAINT)}`;
}
