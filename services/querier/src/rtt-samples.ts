/**
 * TCP connect times by origin, from probes and from the jobs' own connections alike: a miner cannot tell them apart
 * before it has answered. In memory and bounded; RttProbe writes them down for the miners that live there.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import type { EgressOptions } from '@studio/shared/platform/egress';

/** As the connector names it; an endpoint that is no URL is connected to by nobody. */
export function originOf({ endpoint }: Pick<RoutableMiner, 'endpoint'>): string {
  return URL.canParse(endpoint) ? new URL(endpoint).origin : endpoint;
}

/** Several times the endpoints that a subnet can have; the one not connected to for longest is forgotten. */
const MAX_ORIGINS = 4_096;

export interface RttSample {
  /** `IP:port`: samples of different places are not mixed. */
  address: string;
  /** Whole µs. */
  minUs: number;
  /** One after another: whoever goes to and fro begins again each time. */
  count: number;
  /** Of `count`, those that are not in the database yet. */
  unwritten: number;
}

export class RttSamples {
  private readonly samples = new Map<string, RttSample>();

  /** For createEgress. */
  readonly onConnect: NonNullable<EgressOptions['onConnect']> = (origin, tcpMs, address) => {
    const before = this.samples.get(origin);
    const us = Math.round(tcpMs * 1_000);
    const sample =
      before?.address === address
        ? { address, minUs: Math.min(before.minUs, us), count: before.count + 1, unwritten: before.unwritten + 1 }
        : { address, minUs: us, count: 1, unwritten: 1 };
    this.samples.delete(origin);
    this.samples.set(origin, sample);
    if (this.samples.size <= MAX_ORIGINS) return;
    for (const oldest of this.samples.keys()) return void this.samples.delete(oldest);
  };

  of(origin: string): Readonly<RttSample> | undefined {
    return this.samples.get(origin);
  }

  /** These are in the database. Others may have come since, or the miner may have moved. */
  written(origin: string, { address, unwritten }: Pick<RttSample, 'address' | 'unwritten'>): void {
    const now = this.samples.get(origin);
    if (now?.address === address) this.samples.set(origin, { ...now, unwritten: now.unwritten - unwritten });
  }
}
