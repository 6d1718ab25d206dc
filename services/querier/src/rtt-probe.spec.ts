import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { createEgress } from '@studio/shared/platform/egress';
import type { Measured, Measurement } from './measurement.store';
import { MIN_SAMPLES, RttProbe } from './rtt-probe';
import { RttSamples } from './rtt-samples';

const log = { error: () => undefined };

/** What the database would know; `until` resolves when a condition on the rows holds. */
class Rows {
  readonly rows: Measurement[] = [];
  known = new Map<string, Measured>();
  private waiting: { holds: () => boolean; resolve: () => void }[] = [];

  all = () => Promise.resolve(this.known);
  recordAll = async (given: readonly Measurement[]): Promise<void> => {
    this.rows.push(...given);
    this.waiting = this.waiting.filter(({ holds, resolve }) => !holds() || resolve());
  };
  until = (holds: () => boolean): Promise<void> => new Promise((resolve) => this.waiting.push({ holds, resolve }));
}

describe('RttProbe', () => {
  let servers: Server[];
  let miners: RoutableMiner[];
  let rows: Rows;
  let connects: string[];
  let probe: RttProbe;

  beforeEach(() => {
    [servers, miners, connects] = [[], [], []];
    rows = new Rows();
  });
  afterEach(async () => {
    await probe.stop();
    for (const server of servers) server.close();
  });

  /** Takes the connection and says nothing sensible: the handshake is all that counts. */
  const addMiner = async (hotkey: string): Promise<string> => {
    const server = createServer((socket) => {
      connects.push(hotkey);
      socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    miners.push({ hotkey, operator: hotkey, endpoint: `http://${address}` } as RoutableMiner);
    return address;
  };
  const measuredBefore = (hotkey: string, address: string): void =>
    void rows.known.set(hotkey, { hotkey, rttMinUs: 5, samples: MIN_SAMPLES, address, addressSinceMs: 1 });
  /** Without pauses. */
  const make = (samples?: RttSamples): RttProbe =>
    (probe = new RttProbe({ all: () => miners }, rows, { allowPrivate: true }, log, samples, () => 0));

  it('measures many miners at once, each by at least eight connects to where it lives', async () => {
    const addresses = new Map<string, string>();
    for (let i = 0; i < 64; i += 1) addresses.set(`m${i}`, await addMiner(`m${i}`));
    make().start();
    await rows.until(() => new Set(rows.rows.map(({ hotkey }) => hotkey)).size === 64);
    for (const [hotkey, address] of addresses) {
      const first = rows.rows.find((row) => row.hotkey === hotkey)!;
      expect(first.samples).toBeGreaterThanOrEqual(MIN_SAMPLES);
      expect(first.rttMinUs).toBeGreaterThanOrEqual(0);
      expect(first.address).toBe(address);
    }
  });

  it('comes to those without a measurement first', async () => {
    for (let i = 0; i < 20; i += 1) measuredBefore(`old${i}`, await addMiner(`old${i}`));
    for (let i = 0; i < 20; i += 1) await addMiner(`new${i}`);
    make().start();
    await rows.until(() => rows.rows.some(({ hotkey }) => hotkey.startsWith('new')));
    expect(connects.slice(0, 16).filter((hotkey) => hotkey.startsWith('old'))).toEqual([]);
  });

  it('goes on measuring the others while some are out of reach', async () => {
    miners.push({ hotkey: 'gone', operator: 'gone', endpoint: 'http://127.0.0.1:1' } as RoutableMiner);
    miners.push({ hotkey: 'odd', operator: 'odd', endpoint: 'no URL' } as RoutableMiner);
    await addMiner('here');
    make().start();
    await rows.until(() => rows.rows.length > 0);
    expect(new Set(rows.rows.map(({ hotkey }) => hotkey))).toEqual(new Set(['here']));
  });

  it('counts the connects of the jobs, and writes each of them once', async () => {
    const samples = new RttSamples();
    const address = await addMiner('m');
    make(samples);
    const jobs = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 1, onConnect: samples.onConnect });
    const job = async (): Promise<void> => {
      const reply = await jobs.request({ url: `http://${address}/x`, method: 'GET', deadlineMs: 5_000, maxBytes: 10 });
      reply.discard();
    };
    for (let i = 0; i < MIN_SAMPLES - 1; i += 1) await job();
    await probe.write();
    expect(rows.rows).toEqual([]);
    await job();
    await probe.write();
    await probe.write();
    expect(rows.rows).toEqual([{ hotkey: 'm', rttMinUs: expect.any(Number), samples: MIN_SAMPLES, address }]);
    await jobs.close();
  });

  it('adds a single connect to what other workers have measured of the same place', async () => {
    const samples = new RttSamples();
    const address = await addMiner('m');
    make(samples);
    samples.onConnect(`http://${address}`, 2, address);
    await probe.write();
    expect(rows.rows).toEqual([]);
    measuredBefore('m', address);
    await probe.write();
    expect(rows.rows).toEqual([{ hotkey: 'm', rttMinUs: 2_000, samples: 1, address }]);
  });

  it('keeps what could not be written for the next time', async () => {
    const samples = new RttSamples();
    const address = await addMiner('m');
    make(samples);
    for (const ms of [9, 3, 8, 7, 6, 5, 4, 3]) samples.onConnect(`http://${address}`, ms, address);
    const works = rows.recordAll;
    rows.recordAll = () => Promise.reject(new Error('the database is away'));
    await expect(probe.write()).rejects.toThrow('away');
    rows.recordAll = works;
    await probe.write();
    expect(rows.rows).toEqual([{ hotkey: 'm', rttMinUs: 3_000, samples: 8, address }]);
  });

  it('begins again when the address behind a name changes', () => {
    const samples = new RttSamples();
    for (let i = 0; i < 20; i += 1) samples.onConnect('http://miner.example', 1, '1.2.3.4:80');
    samples.onConnect('http://miner.example', 30, '1.2.3.5:80');
    expect(samples.of('http://miner.example')).toMatchObject({ address: '1.2.3.5:80', minUs: 30_000, count: 1 });
    make();
  });

  it('measures nothing through a proxy, whose connection is not the miner’s', async () => {
    await addMiner('m');
    probe = new RttProbe({ all: () => miners }, rows, { allowPrivate: true, proxyUrl: 'http://127.0.0.1:1' }, log);
    const asked = jest.spyOn(rows, 'all');
    probe.start();
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).not.toHaveBeenCalled();
  });
});
