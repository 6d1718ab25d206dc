import { randomUUID } from 'node:crypto';
import type { AppealFiling, AppealReply } from '@studio/shared/contract/appeals';
import type { MinerDetails, MinerRegistration, MinerView, RegistryIdentity } from '@studio/shared/contract/miners';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';
import { decodeSs58 } from '@studio/shared/protocol/ss58';
import { request } from 'undici';

const TIMEOUT_MS = 10_000;
const LONGEST_COMPLAINT = 500;

type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

/** The registry said no, in its own words, or did not answer. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
}

/** The registry as a miner sees it; what only the miner may ask is signed by its hotkey. */
export class RegistryClient {
  private readonly base: string;

  constructor(
    url: string,
    private readonly hotkey: Hotkey,
    private readonly signal?: AbortSignal,
  ) {
    this.base = url.endsWith('/') ? url : `${url}/`;
  }

  /** The orchestrator's hotkey: whose jobs a miner takes, and whom its requests are signed for. */
  async identity(): Promise<string> {
    const { hotkey } = (await this.send('GET', 'v1/identity')) as RegistryIdentity;
    if (typeof hotkey !== 'string' || !decodeSs58(hotkey))
      throw new RegistryError('the registry names no hotkey of its own');
    return hotkey;
  }

  /** @param recipient what `identity` said. */
  async register(registration: MinerRegistration, recipient: string): Promise<void> {
    await this.send('PUT', this.own(), JSON.stringify(registration), recipient);
  }

  async withdraw(): Promise<void> {
    await this.send('DELETE', this.own(), '', await this.identity());
  }

  /** What everybody sees of this miner. */
  async view(): Promise<MinerView> {
    return (await this.send('GET', this.own())) as MinerView;
  }

  /** The same, and the account that only the miner itself may see. */
  async account(): Promise<MinerDetails> {
    return (await this.send('GET', this.own(), '', await this.identity())) as MinerDetails;
  }

  /** Objects to the invalid verdict on this job; the same words again find the appeal that is there. */
  async appeal(jobId: string, reason: string): Promise<AppealReply> {
    const filing: AppealFiling = { job_id: jobId, reason };
    const body = JSON.stringify(filing);
    return (await this.send('POST', `${this.own()}/appeals`, body, await this.identity())) as AppealReply;
  }

  private own(): string {
    return `v1/miners/${this.hotkey.address}`;
  }

  /** @throws RegistryError, or Error where nobody answers. */
  private async send(method: Method, path: string, body = '', recipient?: string): Promise<unknown> {
    const url = new URL(path, this.base);
    const signed =
      recipient &&
      signRequest({ method, path: url.pathname, body, nowMs: Date.now(), nonce: randomUUID(), recipient }, this.hotkey);
    const bounded = AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(this.signal ? [this.signal] : [])]);
    const headers = { ...(body && { 'content-type': 'application/json' }), ...signed };
    const reply = await request(url, { method, headers, ...(body && { body }), signal: bounded }).catch(
      (error: Error) => {
        throw new RegistryError(`the registry at ${this.base} does not answer (${error.message}): see to REGISTRY_URL`);
      },
    );
    const text = await reply.body.text();
    if (reply.statusCode >= 300) {
      const complaint = `the registry answers ${reply.statusCode}: ${messageOf(text)}`;
      throw new RegistryError(complaint);
    }
    return text === '' ? undefined : (JSON.parse(text) as unknown);
  }
}

/** The message of our error form, or the first of whatever else it is. */
function messageOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } };
    if (typeof error?.message === 'string') return error.message.slice(0, LONGEST_COMPLAINT);
  } catch {
    // not JSON: shown as it is
  }
  return text.slice(0, LONGEST_COMPLAINT);
}
