import fc from 'fast-check';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MetagraphUnreadable } from './uids';
import { checked, EPOCH, neurons, SetterRig, START, VirtualClock } from './weights-setter.rig';
import { FileTarget, PylonTarget } from './weights-target';

const POINTS = { ada: 700_000n, ben: 400_000n };
const at = (epochs: number): string => new Date(START + epochs * EPOCH).toISOString();

let rig: SetterRig;

beforeEach(async () => {
  rig = await SetterRig.open();
});

afterEach(() => rig.close());

/** One process that lives for `epochs`, told of `POINTS` as epoch 4 at its beginning. */
async function live(
  epochs: number,
  more: Parameters<SetterRig['setter']>[1] = {},
  points = POINTS,
): Promise<VirtualClock> {
  const clock = new VirtualClock(START + epochs * EPOCH);
  const setter = await rig.setter(clock, more);
  await setter.offer(checked(4, points), at(0));
  setter.caughtUp();
  await setter.keep(clock.over.signal);
  return clock;
}

describe('weights that checked out', () => {
  it('go to the sidecar at once, by hotkey, with the token of the identity, and into the file with their uids', async () => {
    await live(1);
    expect(rig.pylon.asked).toEqual([
      'GET /api/v1/identity/sn11/subnet/11/block/latest/neurons Bearer secret',
      'PUT /api/v1/identity/sn11/subnet/11/weights Bearer secret',
    ]);
    const { weights } = checked(4, POINTS).weights;
    const total = weights.reduce((sum, u16) => sum + u16, 0);
    expect(rig.pylon.weights).toEqual([{ ada: weights[0]! / total, ben: weights[1]! / total }]);
    expect(await rig.written()).toMatchObject({ epoch: 4, uids: [0, 10], values: weights, metagraph_block: 720 });
    expect(rig.said.at(-1)).toMatch(/^weights of epoch 4: OK, 2 of 2 miners, scheduled by http/);
  });

  it('go to a sidecar of an earlier release as well', async () => {
    await rig.close();
    rig = await SetterRig.open({ early: true });
    await live(1);
    expect(rig.pylon.weights).toHaveLength(1);
    expect(rig.pylon.asked).toContain('GET /api/v1/identity/sn11/subnet/11/neurons/latest Bearer secret');
  });

  it('leave out who is not in the metagraph, by name, and scale up the others', async () => {
    rig.pylon.answer = { block: 1, neurons: neurons('zoe', 'ben') };
    await live(1);
    expect(rig.pylon.weights).toEqual([{ ben: 1 }]);
    expect(await rig.written()).toMatchObject({ uids: [10], values: [65_535], left_out: ['ada'] });
    expect(rig.said.at(-1)).toContain('left out, because they are not in the metagraph: ada');
  });

  it('of old epochs are passed over while the log is read: only the newest goes out', async () => {
    const clock = new VirtualClock(START + EPOCH);
    const setter = await rig.setter(clock);
    for (const epoch of [2, 3, 4]) {
      clock.at(START + epoch, () => setter.offer(checked(epoch, { ...POINTS, ada: BigInt(epoch) }), at(epoch - 4)));
    }
    clock.at(START + 5, () => setter.caughtUp());
    await setter.keep(clock.over.signal);
    expect(rig.puts).toBe(1);
    expect(await rig.written()).toMatchObject({ epoch: 4 });
  });
});

describe('while nothing newer comes', () => {
  it('the last good weights are handed over once in every epoch, saying how old they are and why', async () => {
    await live(4);
    expect(rig.puts).toBe(4);
    const again = rig.said.filter((text) => text.includes('handed over again'));
    expect(again).toHaveLength(3);
    expect(again[0]).toBe(
      'the registry has published no newer snapshot, or does not answer: the last good weights, of epoch 4, ' +
        'closed 1 h 48 min ago (1 epochs), are handed over again',
    );
  });

  it('because a snapshot was refused, that is said', async () => {
    const clock = new VirtualClock(START + 2 * EPOCH);
    const setter = await rig.setter(clock);
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    clock.at(START + EPOCH, () => setter.refuse(5));
    await setter.keep(clock.over.signal);
    expect(rig.said.at(-2)).toMatch(/^the snapshot of epoch 5 was refused: the last good weights, of epoch 4/);
  });

  it('weights older than the greatest age are not handed over any more, and that is said loudly', async () => {
    await live(8, { maxAgeEpochs: 2 });
    expect(rig.puts).toBe(3);
    expect(rig.said.at(-1)).toMatch(
      /^NO WEIGHTS ARE SET: .* of epoch 4, are \d epochs old, more than --max-age-epochs 2/,
    );
  });

  it('a restart neither hands over twice nor forgets what it had', async () => {
    await live(0.5);
    expect(rig.puts).toBe(1);
    const clock = new VirtualClock(START + 2 * EPOCH);
    const restarted = await rig.setter(clock);
    await restarted.keep(clock.over.signal);
    expect(rig.puts).toBe(2);
    expect(rig.said.at(-2)).toContain('closed 1 h 48 min ago');
  });

  it('a restart before anything was handed over does it', async () => {
    const clock = new VirtualClock(START + EPOCH);
    const killed = await rig.setter(clock);
    await killed.offer(checked(4, POINTS), at(0));
    const restarted = await rig.setter(clock);
    await restarted.keep(clock.over.signal);
    expect(rig.puts).toBe(1);
  });

  it('a clock of the registry that is ahead does not keep weights young', async () => {
    const clock = new VirtualClock(START + 5 * EPOCH);
    const setter = await rig.setter(clock, { maxAgeEpochs: 1 });
    await setter.offer(checked(4, POINTS), at(1_000));
    setter.caughtUp();
    await setter.keep(clock.over.signal);
    expect(rig.said.at(-1)).toMatch(/^NO WEIGHTS ARE SET/);
  });

  it('memory that cannot be read is set aside', async () => {
    await writeFile(join(rig.directory, 'weights-state.json'), '{"version":1,"good":{"weights":{"hotkeys":[]}}}');
    const setter = await rig.setter(new VirtualClock(START));
    expect(setter.state.isBlank).toBe(true);
    expect(rig.said[0]).toMatch(/cannot be read .* set aside/);
  });
});

describe('a sidecar', () => {
  it('that is away is tried again with growing pauses, and the weights arrive', async () => {
    rig.pylon.refusals = [503, 500, 504, 429, 408];
    const clock = await live(1);
    expect(rig.puts).toBe(6);
    expect(rig.pylon.weights).toHaveLength(1);
    expect(rig.said[0]).toMatch(
      /not handed over: .* answers 503 \(as the test wants it\); trying again until 2026-01-01T01:48/,
    );
    expect(clock.now()).toBeGreaterThan(START);
  });

  it('that stays away is asked until the epoch ends and no longer; the next epoch tries anew', async () => {
    rig.pylon.refusals = Array.from({ length: 10_000 }, () => 503);
    await live(1.6);
    const tries = rig.puts;
    // 1, 2, 4 … 60 s and then each minute, for an epoch and a half.
    expect(tries).toBeGreaterThan(60);
    expect(tries).toBeLessThan(130);
    expect(rig.said.some((text) => text.includes('The epoch ends after'))).toBe(true);
    await rig.close();
    rig = await SetterRig.open();
    rig.pylon.refusals = Array.from({ length: 115 }, () => 503);
    await live(2.4);
    expect(rig.pylon.weights).toHaveLength(1);
  });

  it('whose metagraph cannot be had gets nothing until it can', async () => {
    const members = rig.pylon.answer;
    rig.pylon.answer = 502;
    const clock = new VirtualClock(START + EPOCH);
    clock.at(START + EPOCH / 2, () => (rig.pylon.answer = members));
    const setter = await rig.setter(clock);
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    await setter.keep(clock.over.signal);
    expect(rig.puts).toBe(1);
  });

  it.each([
    ['a wrong token', 403, 'Invalid authorization token): PYLON_TOKEN has to be the token of this identity'],
    ['an invalid vector', 400, 'as the test wants it'],
    ['an unknown identity', 404, 'see --pylon-identity and --netuid'],
    ['a body too large', 413, 'answers 413'],
  ])('that refuses because of %s is not asked again in that epoch', async (_what, status, reason) => {
    if (status === 403) {
      await live(1, { target: new PylonTarget(rig.client('wrong'), { path: rig.outFile }) });
      expect(rig.pylon.asked).toHaveLength(1);
    } else {
      rig.pylon.refusals = [status];
      await live(1);
      expect(rig.puts).toBe(1);
    }
    expect(rig.pylon.weights).toEqual([]);
    expect(rig.said).toEqual([expect.stringContaining(reason)]);
    expect(rig.said[0]).not.toContain('secret');
  });

  it('gets the newest weights when they come while older ones are being tried', async () => {
    rig.pylon.refusals = Array.from({ length: 30 }, () => 503);
    const clock = new VirtualClock(START + EPOCH);
    const setter = await rig.setter(clock);
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    clock.at(START + 600_000, async () => {
      await setter.offer(checked(5, { ben: 1n }), at(0));
      setter.caughtUp();
    });
    await setter.keep(clock.over.signal);
    expect(rig.pylon.weights).toEqual([{ ben: 1 }]);
  });
});

describe('nothing to set', () => {
  it('in an epoch without scores: what is in force stays, nothing is sent, and the reason is said', async () => {
    const clock = new VirtualClock(START + 6 * EPOCH);
    const setter = await rig.setter(clock);
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    clock.at(START + EPOCH, async () => {
      await setter.offer(checked(5, {}), at(1));
      setter.caughtUp();
    });
    await setter.keep(clock.over.signal);
    expect(rig.puts).toBe(1);
    expect(rig.said.at(-1)).toBe(
      'epoch 5: nothing to set, because no miner has a valid job; the weights in force stay',
    );
    expect(await rig.written()).toMatchObject({ epoch: 4, outcome: 'OK' });
  });

  it('to a file: the last good weights stay in it, and only an empty place says NO_SCORES', async () => {
    const clock = new VirtualClock(START + EPOCH);
    const setter = await rig.setter(clock, { target: new FileTarget({ path: rig.outFile }) });
    await setter.offer(checked(3, {}), at(0));
    expect(await rig.written()).toMatchObject({ epoch: 3, outcome: 'NO_SCORES', hotkeys: [] });
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    await setter.keep(clock.over.signal);
    await setter.offer(checked(5, {}), at(1));
    expect(await rig.written()).toMatchObject({ epoch: 4, outcome: 'OK', hotkeys: ['ada', 'ben'] });
  });

  it('where nobody with a weight is in the metagraph', async () => {
    rig.pylon.answer = { block: 1, neurons: neurons('zoe') };
    await live(1);
    expect(rig.puts).toBe(0);
    expect(rig.said).toEqual([
      expect.stringMatching(/nothing to set, because none of the 2 miners .* is in the metagraph/),
    ]);
  });

  it('is never sent: no vector is empty or of zeros, whoever is scored and whoever is a member', async () => {
    const names = ['ada', 'ben', 'cleo', 'dan'];
    const drawn = fc.tuple(
      fc.dictionary(fc.constantFrom(...names), fc.bigInt({ min: 0n, max: 3n }), { noNullPrototype: true }),
      fc.subarray(names),
    );
    await fc.assert(
      fc.asyncProperty(drawn, async ([points, present]) => {
        rig.pylon.answer = { block: 1, neurons: neurons('other', ...present) };
        await live(1, {}, points as typeof POINTS);
      }),
      { numRuns: 50 },
    );
    for (const weights of rig.pylon.weights) {
      expect(Object.values(weights).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
      expect(Object.values(weights).every((share) => share > 0)).toBe(true);
    }
    expect(rig.pylon.weights.length).toBeGreaterThan(0);
  });
});

describe('a file', () => {
  it('waits for a metagraph that cannot be read, rather than being without uids', async () => {
    let readable = false;
    const members = async () => {
      if (!readable) throw new MetagraphUnreadable('is being written');
      return {
        block: 5,
        uids: new Map([
          ['ada', 3],
          ['ben', 1],
        ]),
      };
    };
    const clock = new VirtualClock(START + EPOCH);
    clock.at(START + 90_000, () => (readable = true));
    const target = new FileTarget({ path: rig.outFile, netuid: 11, versionKey: 7, members });
    const setter = await rig.setter(clock, { target });
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    await setter.keep(clock.over.signal);
    const [ada, ben] = checked(4, POINTS).weights.weights;
    expect(await rig.written()).toMatchObject({ netuid: 11, version_key: 7, uids: [1, 3], values: [ben, ada] });
  });
});

describe('by blocks', () => {
  const BLOCKS = { every: 'blocks', blocks: 360, blockMs: 12_000 } as const;

  it('of the wall clock, weights are set in every slot of 360, not with the snapshot', async () => {
    const clock = new VirtualClock(START + 3 * EPOCH);
    const block = async (): Promise<number> => Math.floor((clock.now() - START) / 12_000) + 100;
    const setter = await rig.setter(clock, { rhythm: BLOCKS, block });
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    clock.at(START + 1_000_000, async () => {
      await setter.offer(checked(5, { ben: 1n }), at(0));
      setter.caughtUp();
    });
    await setter.keep(clock.over.signal);
    // Blocks 100, 360, 720 and 1080: slots 0 to 3; the second vector waits for the next one.
    expect(rig.pylon.weights.map((weights) => Object.keys(weights).length)).toEqual([2, 1, 1, 1]);
  });

  it('of the sidecar, the slot is that of its chain, and an unknown block waits', async () => {
    const clock = new VirtualClock(START + EPOCH);
    const pylon = rig.client();
    const setter = await rig.setter(clock, { rhythm: BLOCKS, block: () => pylon.block() });
    const members = rig.pylon.answer as { block: number; neurons: ReturnType<typeof neurons> };
    rig.pylon.answer = 503;
    clock.at(START + 300_000, () => (rig.pylon.answer = members));
    clock.at(START + 900_000, () => (rig.pylon.answer = { ...members, block: 1_080 }));
    await setter.offer(checked(4, POINTS), at(0));
    setter.caughtUp();
    await setter.keep(clock.over.signal);
    expect(rig.puts).toBe(1);
    expect(setter.state.doneSlot).toBe('blocks 2');
    expect(rig.said[0]).toMatch(/^the block is not known/);
  });
});

describe('once', () => {
  it('sets the weights, says on the next call that they are set, and fails where there are none', async () => {
    const clock = new VirtualClock(START + EPOCH);
    const empty = await rig.setter(clock);
    expect(await empty.once(clock.over.signal)).toBe(false);
    expect(rig.said).toEqual(['there are no weights yet: the first snapshot that checks out brings them']);
    await empty.offer(checked(4, POINTS), at(0));
    expect(await empty.once(clock.over.signal)).toBe(true);
    const again = await rig.setter(clock);
    expect(await again.once(clock.over.signal)).toBe(true);
    expect(rig.puts).toBe(1);
    expect(rig.said.at(-1)).toMatch(/handed over already/);
  });
});
