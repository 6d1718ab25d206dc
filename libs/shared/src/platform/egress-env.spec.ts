import fc from 'fast-check';
import { DEFAULT_PORTS, egressRules, NetworkList, PortList } from './egress-env';
import { parseNetworks } from './egress-addresses';
import { parsePorts } from './egress-ports';
import { FlagVar, loadEnv, OptionalVar, ProcessEnv, TextVar } from './env';

class TestEnv extends ProcessEnv {
  @FlagVar()
  ALLOW_PRIVATE_EGRESS = false;

  @TextVar()
  @PortList()
  EGRESS_PORTS = DEFAULT_PORTS;

  @OptionalVar()
  @TextVar()
  @NetworkList()
  EGRESS_DENY?: string;
}

describe('a list of ports', () => {
  it('has exactly the ports it names', () => {
    const port = fc.integer({ min: 1, max: 65_535 });
    const ranges = fc.array(fc.tuple(port, port), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(ranges, port, (pairs, asked) => {
        const sorted = pairs.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
        const text = sorted.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');
        const list = parsePorts(text);
        for (const one of [asked, ...sorted.flat(), ...sorted.map(([, to]) => to + 1)])
          expect(list.has(one)).toBe(sorted.some(([from, to]) => one >= from && one <= to));
      }),
    );
  });

  it.each(['', '80,', '0', '65536', '90-80', '80-', 'http', '80;443', '-5', '1-2-3'])('refuses %p', (text) => {
    expect(() => parsePorts(text)).toThrow(RangeError);
  });
});

it('reads addresses and networks alike', () => {
  expect(parseNetworks(' 203.0.114.7, 2a01:4f8::/32,2a01:4f8::1 ,')).toEqual([
    '203.0.114.7/32',
    '2a01:4f8::/32',
    '2a01:4f8::1/128',
  ]);
  expect(() => parseNetworks('studio.example')).toThrow(RangeError);
});

describe('the variables of the way out', () => {
  it('let miners listen on the web’s ports and on those that need no root', () => {
    const { allowPrivate, allowedPorts, deny, proxyUrl } = egressRules(loadEnv(TestEnv, {}));
    expect([22, 80, 443, 1_023, 1_024, 65_535].map((port) => allowedPorts?.has(port))).toEqual([
      false,
      true,
      true,
      false,
      true,
      true,
    ]);
    expect([allowPrivate, deny, proxyUrl]).toEqual([false, [], undefined]);
  });

  it('are refused at boot with what was expected', () => {
    const wrong = { EGRESS_PORTS: '80-', EGRESS_DENY: 'studio.example' };
    expect(() => loadEnv(TestEnv, wrong)).toThrow(/EGRESS_PORTS is "80-": expected ports and ranges/);
    expect(() => loadEnv(TestEnv, wrong)).toThrow(/EGRESS_DENY is "studio.example": expected addresses and networks/);
  });
});
