/** The variables that open or close the way out, read into the options of createEgress. Used by every service's env.ts. */
import { registerDecorator } from 'class-validator';
import type { EgressOptions } from './egress';
import { parseNetworks } from './egress-addresses';
import { parsePorts } from './egress-ports';

export interface EgressSettings {
  ALLOW_PRIVATE_EGRESS: boolean;
  EGRESS_PORTS: string;
  EGRESS_DENY?: string;
  EGRESS_PROXY_URL?: string;
}

/** What miners listen on: the web's own ports and whatever needs no root. 22, 25 and their like are nobody's endpoint. */
export const DEFAULT_PORTS = '80,443,1024-65535';

export type EgressRules = Pick<EgressOptions, 'allowPrivate' | 'allowedPorts' | 'deny' | 'proxyUrl'>;

export function egressRules(env: EgressSettings): EgressRules {
  return {
    allowPrivate: env.ALLOW_PRIVATE_EGRESS,
    allowedPorts: parsePorts(env.EGRESS_PORTS),
    deny: parseNetworks(env.EGRESS_DENY ?? ''),
    ...(env.EGRESS_PROXY_URL === undefined ? {} : { proxyUrl: env.EGRESS_PROXY_URL }),
  };
}

/** Beside `@TextVar()`. */
export const PortList = (): PropertyDecorator =>
  parsable('portList', parsePorts, 'ports and ranges, for example 80,443,1024-65535');

/** Beside `@TextVar()`. */
export const NetworkList = (): PropertyDecorator =>
  parsable('networkList', parseNetworks, 'addresses and networks, for example 203.0.114.7,2a01:4f8::/32');

function parsable(name: string, parse: (text: string) => unknown, message: string): PropertyDecorator {
  const validate = (value: unknown): boolean => {
    try {
      parse(String(value));
      return true;
    } catch {
      return false;
    }
  };
  return (target, property) =>
    registerDecorator({
      name,
      target: target.constructor,
      propertyName: String(property),
      options: { message },
      validator: { validate },
    });
}
