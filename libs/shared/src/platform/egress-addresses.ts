import { BlockList, isIP } from 'node:net';

/**
 * Which addresses a URL chosen by a stranger may reach: global unicast only (IANA special-purpose registries).
 * IPv4 and IPv6 are kept in lists of their own because a shared BlockList also matches one family's rules against
 * addresses mapped into the other.
 */
export interface AddressRules {
  /** Admits loopback and private networks (development); never link-local, where cloud metadata lives. */
  allowPrivate: boolean;
  /** Our own public addresses, as `address/prefix`. */
  deny?: readonly string[];
}

/** Admitted by `allowPrivate`. */
const PRIVATE_V4 = ['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'];
const SPECIAL_V4 = [
  '0.0.0.0/8', // this network
  '169.254.0.0/16', // link-local, metadata services
  '192.0.0.0/24', // IETF protocol assignments
  '192.0.2.0/24', // documentation
  '192.31.196.0/24', // AS112
  '192.52.193.0/24', // AMT
  '192.88.99.0/24', // 6to4 relay
  '192.175.48.0/24', // AS112
  '198.18.0.0/15', // benchmarking
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
];
const PRIVATE_V6 = ['::1/128', 'fc00::/7'];
/** Within 2000::/3, the only global unicast space; everything outside it is refused as a whole. */
const SPECIAL_V6 = [
  '2001::/23', // Teredo, ORCHID and other IETF assignments
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4: carries an IPv4 address that no list above sees
  '2620:4f:8000::/48', // AS112
  '3fff::/20', // documentation
];

/** What is refused where private networks are not admitted: of all IPv4, and of 2000::/3. Network policies leave out the same. */
export const NOT_GLOBAL_V4: readonly string[] = [...PRIVATE_V4, ...SPECIAL_V4];
export const NOT_GLOBAL_V6: readonly string[] = SPECIAL_V6;

const privateV4 = blockList(PRIVATE_V4);
const specialV4 = blockList(SPECIAL_V4);
const privateV6 = blockList(PRIVATE_V6);
const specialV6 = blockList(SPECIAL_V6);
const globalV6 = blockList(['2000::/3']);

export type AddressFilter = (address: string) => string | undefined;

/** A function that says why an IP address is refused, or undefined. @throws RangeError for a malformed `deny` entry. */
export function addressFilter({ allowPrivate, deny = [] }: AddressRules): AddressFilter {
  const own4 = blockList(deny.filter((network) => !network.includes(':')));
  const own6 = blockList(deny.filter((network) => network.includes(':')));
  return (address) => {
    const family = isIP(address);
    // A zone (`fe80::1%eth0`) only makes sense on a link.
    if (family === 0 || address.includes('%')) return 'not an IP address';
    const [own, home] = family === 4 ? [own4, privateV4] : [own6, privateV6];
    const type = family === 4 ? 'ipv4' : 'ipv6';
    if (own.check(address, type)) return 'an address of our own';
    if (home.check(address, type)) return allowPrivate ? undefined : 'a loopback or private address';
    const special =
      family === 4 ? specialV4.check(address, type) : !globalV6.check(address, type) || specialV6.check(address, type);
    return special ? 'not a global unicast address' : undefined;
  };
}

/** Addresses and networks, separated by commas; an address alone stands for itself. @throws RangeError */
export function parseNetworks(text: string): string[] {
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const networks = parts.map((part) => {
    const family = part.includes('/') ? 0 : isIP(part);
    return family === 0 ? part : `${part}/${family === 4 ? 32 : 128}`;
  });
  blockList(networks);
  return networks;
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    const family = isIP(address);
    if (family === 0 || !/^\d{1,3}$/.test(prefix))
      throw new RangeError(`${network}: write a network as address/prefix`);
    list.addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}
