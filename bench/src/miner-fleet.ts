import { freePort } from '@studio/launcher/servers/free-port';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { startChild } from './child';
import type { StubMinerConfig } from './stub-miner';

/** Four untrusted miners and the reference on which the product's audits are replayed, in one process. */
export interface MinerFleet {
  pid: number;
  paid: readonly StubMiner[];
  reference: StubMiner;
  /** How long each job takes from now on. */
  setDelay(delayMs: number): Promise<void>;
  stop(): Promise<void>;
}

export interface StubMiner {
  name: string;
  url: string;
  /** Of its hotkey. */
  seed: string;
}

const PAID = ['stub-a', 'stub-b', 'stub-c', 'stub-d'];

export async function startFleet(): Promise<MinerFleet> {
  const names = [...PAID, 'stub-reference'];
  const ports = await Promise.all(names.map(() => freePort()));
  const miners = names.map((name, index) => {
    const port = ports[index]!;
    return { name, port, url: `http://127.0.0.1:${port}`, seed: sha256Hex(name) };
  });
  const child = await startChild<StubMinerConfig>('stub-miner', { miners, delayMs: 0 });
  return {
    pid: child.pid,
    paid: miners.slice(0, PAID.length),
    reference: miners[PAID.length]!,
    setDelay: (delayMs) => child.configure({ delayMs }),
    stop: () => child.stop(),
  };
}
