import { sha256Hex } from '@studio/shared/protocol/canonical';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { type DippyMiner, type DippyQuirks, startDippyMiner } from '@studio/shared/testing/dippy-miner';
import { CallbackListener } from './callback-listener';
import { type Check, type Finding, runChecks } from './check';
import { DIPPY_CHECKS } from './dippy-checks';
import { DippyProbe } from './dippy-probe';

const NAME = 'a miner under test';
const hotkey = hotkeyFromSeed(sha256Hex(NAME));

let miner: DippyMiner;
let listener: CallbackListener;

beforeEach(async () => {
  miner = await startDippyMiner({ name: NAME });
  listener = await CallbackListener.open('127.0.0.1', 0);
});
afterEach(async () => {
  await listener.close();
  await miner.close();
});

async function findings(
  quirks: DippyQuirks = {},
  patienceMs = 20_000,
  checks: readonly Check<DippyProbe>[] = DIPPY_CHECKS,
): Promise<Finding[]> {
  miner.quirks = quirks;
  const probe = new DippyProbe({ endpoint: miner.url, hotkey, patienceMs }, listener);
  try {
    return await runChecks(checks, probe);
  } finally {
    await probe.close();
  }
}

const failed = (all: Finding[]): string[] => all.filter(({ result }) => result === 'fail').map(({ name }) => name);
const named = (...names: string[]) => DIPPY_CHECKS.filter(({ name }) => names.includes(name));

it('a faithful Dippy miner keeps their whole contract', async () => {
  const all = await findings();
  expect(all.filter(({ result }) => result === 'fail')).toEqual([]);
  // Whether the second request finds the first one running is the miner's own haste.
  expect(all.filter(({ result, name }) => result === 'skip' && name !== 'running-id')).toEqual([]);
});

it.each<[string, DippyQuirks]>([
  ['calls back before it has answered', { callbackFirst: true }],
  ['answers 202 for a slow model server', { slowProxy202: true }],
])('a miner that %s keeps it as well', async (_, quirks) => {
  expect(failed(await findings(quirks))).toEqual([]);
});

it.each<[string, DippyQuirks, string[]]>([
  ['fails its jobs', { fails: 'CUDA out of memory' }, ['inference']],
  ['hands in empty images', { emptyImage: true }, ['image-present']],
  ['hands in addresses of images', { missingImage: true }, ['image-present']],
  ['calls back twice', { callbacks: 2 }, ['callback-once']],
  ['has a broken model server', { upstream: 502 }, ['inference']],
  ['is switched off', { disabled503: true }, ['inference']],
  ['lists its capacity in numbers', { capacityOf: { 'base-h100_pcie': 1 } }, ['capacity']],
  ['has nothing enabled', { capacityOf: { 'base-h100_pcie': false } }, ['capacity']],
])('a miner that %s fails exactly there', async (_, quirks, names) => {
  const auth = /refused|limits|required/;
  const checks = quirks.upstream ? DIPPY_CHECKS.filter(({ name }) => !auth.test(name)) : DIPPY_CHECKS;
  expect(failed(await findings(quirks, 20_000, checks))).toEqual(names);
});

it('a miner that never calls back is told where to look', async () => {
  const all = await findings({ neverCalls: true }, 1_000, named('inference', 'image-present'));
  expect(all).toMatchObject([
    { result: 'fail', change: expect.stringContaining("model server's log") as string },
    { result: 'skip' },
  ]);
});

it('a miner that calls back after the expiry fails exactly there', async () => {
  expect(failed(await findings({ lateCallback: true }, 20_000, named('identity', 'expiry-kept')))).toEqual([
    'expiry-kept',
  ]);
});

it('a miner that lets nobody in is told to allow the sender', async () => {
  const all = await findings({ rejectAuth: 403 }, 1_000, named('stale-refused', 'capacity'));
  expect(all).toMatchObject([
    { result: 'fail', change: expect.stringContaining('allowed senders') as string },
    { result: 'fail', change: 'allow this hotkey as a sender' },
  ]);
});
