import { addressFilter } from './egress-addresses';

const outside = addressFilter({ allowPrivate: false });
const development = addressFilter({ allowPrivate: true });

describe('the address filter', () => {
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '198.17.255.255',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450:4001::1',
  ])('admits %s', (address) => expect(outside(address)).toBeUndefined());

  const home = [
    '127.0.0.1',
    '127.255.255.255',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '::1',
    'fd00::1',
  ];
  it.each(home)('admits %s in development only', (address) => {
    expect(outside(address)).toBe('a loopback or private address');
    expect(development(address)).toBeUndefined();
  });

  it.each([
    ['unspecified', '0.0.0.0'],
    ['unspecified', '::'],
    ['metadata', '169.254.169.254'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%eth0'],
    ['site-local', 'fec0::1'],
    ['multicast', '224.0.0.1'],
    ['multicast', 'ff02::1'],
    ['broadcast', '255.255.255.255'],
    ['documentation', '192.0.2.1'],
    ['documentation', '2001:db8::1'],
    ['documentation', '3fff::1'],
    ['benchmarking', '198.18.0.1'],
    ['NAT64 of loopback', '64:ff9b::7f00:1'],
    ['local NAT64', '64:ff9b:1::7f00:1'],
    ['6to4 of loopback', '2002:7f00:1::'],
    ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
    ['IPv4-mapped loopback', '::ffff:127.0.0.1'],
    ['IPv4-mapped loopback in hex', '::ffff:7f00:1'],
    ['IPv4-mapped public', '::ffff:8.8.8.8'],
    ['IPv4-compatible', '::7f00:1'],
    ['a name', 'localhost'],
    ['an octal spelling', '0177.0.0.1'],
  ])('refuses %s everywhere (%s)', (_, address) => {
    expect(outside(address)).toBeDefined();
    expect(development(address)).toBeDefined();
  });

  it('refuses our own addresses', () => {
    const filter = addressFilter({ allowPrivate: true, deny: ['203.0.114.7/32', '2a01:4f8::/32'] });
    expect(filter('203.0.114.7')).toBe('an address of our own');
    expect(filter('203.0.114.8')).toBeUndefined();
    expect(filter('2a01:4f8::5')).toBe('an address of our own');
  });

  it.each(['10.0.0.0', 'example.com/8', '10.0.0.0/x'])('does not take %p for a network', (network) => {
    expect(() => addressFilter({ allowPrivate: true, deny: [network] })).toThrow(RangeError);
  });
});
