/** Where the metagraph is read: a file that an operator or a cron job writes, or bittensor-pylon beside us. */
import { readFile } from 'node:fs/promises';
import type { Egress } from '@studio/shared/platform/egress';

export interface MetagraphSource {
  /** For logs and for `studio.metagraph`; never contains a credential. */
  readonly name: string;
  /** @throws Error when there is no answer or it is not JSON. */
  read(): Promise<unknown>;
}

/** 256 neurons are 200 KiB in pylon's form; sixteen times that is no metagraph of one subnet. */
const MAX_BYTES = 4 * 1_024 * 1_024;

/** Pylon asks the chain when its own copy is old, which takes seconds. */
const DEADLINE_MS = 30_000;

export function fileSource(path: string): MetagraphSource {
  return { name: `file ${path}`, read: async () => JSON.parse(await readFile(path, 'utf8')) as unknown };
}

export interface PylonOptions {
  url: string;
  netuid: number;
  token?: string;
  /** Has to admit private addresses: the sidecar is the operator's own. */
  egress: Egress;
}

/** Pylon's API v1, and the path that it had before its first release. */
const NEURONS = ['block/latest/neurons', 'neurons/latest'] as const;

export function pylonSource({ url, netuid, token, egress }: PylonOptions): MetagraphSource {
  const subnet = `${url.replace(/\/+$/, '')}/api/v1/subnet/${netuid}`;
  const headers = { accept: 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const limits = { deadlineMs: DEADLINE_MS, headersMs: DEADLINE_MS, maxBytes: MAX_BYTES };
  const read = async ([path, ...others]: readonly string[]): Promise<unknown> => {
    const reply = await egress.request({ url: `${subnet}/${path}`, method: 'GET', headers, ...limits });
    if (reply.status !== 200) {
      reply.discard();
      if (reply.status === 404 && others.length > 0) return read(others);
      throw new Error(`answers ${reply.status}${reply.status === 401 ? ': set PYLON_TOKEN' : ''}`);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of reply.body) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  };
  return { name: `pylon ${subnet}/${NEURONS[0]}`, read: () => read(NEURONS) };
}
