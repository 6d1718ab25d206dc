import * as fc from 'fast-check';
import { planCanaries, sliceMsOf, type LaneRecord, type PlannedCanary, type Planning } from './canary-planner';

const EPOCH_MS = 4_320_000;
const SLICE_MS = sliceMsOf(EPOCH_MS);
const FLOOR = 3;
const POLICY = { floorPerEpoch: FLOOR, knownShare: 0.5 };

/** A small generator with a seed (mulberry32), so that a failing history can be played again. */
function chanceFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function lane(fields: Partial<LaneRecord> = {}): LaneRecord {
  const counts = { done: 0, open: 0, asked: 0, aimed: 0, before: 0 };
  return { hotkey: 'm', kind: 'lora-training', engine: 'ref-sep-v1', ...counts, references: ['reference'], ...fields };
}

interface History {
  seed: number;
  miners: number;
  /** Times of clients' jobs in this epoch, of each miner. */
  organicMs?: readonly number[];
  /** How many clients sent each miner in the epoch before. */
  before?: number;
  jobMs?: number;
  /** What becomes of a canary: done by its miner, or it was asked in vain, or could not be asked. */
  outcome?: 'done' | 'asked' | 'elsewhere';
  fromMs?: number;
}

interface Sent extends PlannedCanary {
  atMs: number;
}

/** Plays an epoch slice by slice, as the store counts and the loop asks. */
function play({
  seed,
  miners,
  organicMs = [],
  before = 0,
  jobMs = 30_000,
  outcome = 'done',
  fromMs = 0,
}: History): Sent[] {
  const chance = chanceFrom(seed);
  const sent: Sent[] = [];
  for (let nowMs = fromMs; nowMs < EPOCH_MS; nowMs += SLICE_MS) {
    const records = Array.from({ length: miners }, (_, i): LaneRecord => {
      const hotkey = `m${i}`;
      const own = sent.filter((canary) => canary.hotkey === hotkey);
      const over = own.filter(({ atMs }) => atMs + jobMs <= nowMs).length;
      const organic = organicMs.filter((atMs) => atMs <= nowMs).length;
      const done = Math.min(FLOOR, organic + (outcome === 'done' ? over : 0));
      const asked = outcome === 'asked' ? over : 0;
      return lane({ hotkey, done, open: own.length - over, asked, aimed: own.length, before });
    });
    const planning = { lanes: records, policy: POLICY, epochMs: EPOCH_MS, leftMs: EPOCH_MS - nowMs, sliceMs: SLICE_MS };
    sent.push(...planCanaries(planning, chance).map((canary) => ({ ...canary, atMs: nowMs + canary.inMs })));
  }
  return sent;
}

const seeds = fc.integer();
const perMiner = (sent: readonly Sent[], miners: number): number[] =>
  Array.from({ length: miners }, (_, i) => sent.filter(({ hotkey }) => hotkey === `m${i}`).length);

describe('the planner of canaries', () => {
  it('gives every miner exactly its floor where clients send nothing, early enough to be done in the epoch', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 6 }), (seed, miners) => {
        const sent = play({ seed, miners });
        expect(perMiner(sent, miners)).toEqual(Array.from({ length: miners }, () => FLOOR));
        for (const { atMs } of sent) expect(atMs).toBeLessThanOrEqual(0.9 * EPOCH_MS + SLICE_MS);
      }),
      { numRuns: 50 },
    );
  });

  it('makes none where clients go on sending enough', () => {
    const traffic = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(seeds, traffic, (seed, jitter) => {
        // Evenly, with up to one interval of delay: at least as many as the floor while it is asked for.
        const jobs = FLOOR * 4;
        const organicMs = Array.from({ length: jobs }, (_, n) => ((n + jitter[n % jitter.length]!) / jobs) * EPOCH_MS);
        expect(play({ seed, miners: 2, organicMs, before: jobs })).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it('never takes a miner beyond its floor: what clients send takes the place of canaries', () => {
    const traffic = fc.array(fc.integer({ min: 0, max: EPOCH_MS }), { maxLength: 8 });
    fc.assert(
      fc.property(seeds, traffic, fc.nat(20), (seed, organicMs, before) => {
        const sent = play({ seed, miners: 1, organicMs, before });
        for (const { atMs } of sent) {
          const organic = organicMs.filter((jobMs) => jobMs <= atMs - SLICE_MS).length;
          const earlier = sent.filter((canary) => canary.atMs < atMs).length;
          expect(organic + earlier).toBeLessThan(FLOOR);
        }
        expect(sent.length + organicMs.length).toBeGreaterThanOrEqual(FLOOR);
      }),
      { numRuns: 100 },
    );
  });

  it('reaches the floor although clients, who sent much in the last epoch, stay away', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 24 }), (seed, before) => {
        expect(play({ seed, miners: 1, before })).toHaveLength(FLOOR);
      }),
      { numRuns: 50 },
    );
  });

  it('spreads the times over the epoch: each third of it has its share', () => {
    const sent = Array.from({ length: 200 }, (_, seed) => play({ seed, miners: 4 })).flat();
    const thirds = [0, 1, 2].map(
      (third) => sent.filter(({ atMs }) => Math.floor(atMs / (0.3 * EPOCH_MS)) === third).length / sent.length,
    );
    for (const share of thirds) expect(share).toBeCloseTo(1 / 3, 1);
  });

  it('stops at two floors with a miner that cannot be asked, and counts as measured one that was asked in vain', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        expect(play({ seed, miners: 1, outcome: 'elsewhere' }).length).toBeLessThanOrEqual(2 * FLOOR);
        expect(play({ seed, miners: 1, outcome: 'asked' })).toHaveLength(FLOOR);
      }),
      { numRuns: 50 },
    );
  });

  it('makes up for a late start, never with more than two under way at one miner', () => {
    const jobMs = 60_000;
    fc.assert(
      fc.property(seeds, (seed) => {
        const sent = play({ seed, miners: 1, fromMs: 0.85 * EPOCH_MS, jobMs });
        expect(sent).toHaveLength(FLOOR);
        for (const { atMs } of sent) {
          const beside = sent.filter((other) => other.atMs <= atMs && other.atMs + jobMs > atMs + SLICE_MS).length;
          expect(beside).toBeLessThanOrEqual(2);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('asks a reference for the answer of the share that the policy says, while there is time for two', () => {
    const sent = Array.from({ length: 100 }, (_, seed) => play({ seed, miners: 4 })).flat();
    const early = sent.filter(({ atMs }) => atMs < 0.7 * EPOCH_MS);
    const known = early.filter(({ reference }) => reference === 'reference').length;
    expect(known / early.length).toBeCloseTo(POLICY.knownShare, 1);
    const late = sent.filter(({ atMs }) => atMs > 0.75 * EPOCH_MS + SLICE_MS);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter(({ reference }) => reference !== null)).toEqual([]);
  });

  const urgent = (fields: Partial<Planning>): Planning => {
    const base = { policy: POLICY, epochMs: EPOCH_MS, leftMs: 0.05 * EPOCH_MS, sliceMs: SLICE_MS };
    return { lanes: [], ...base, ...fields };
  };
  const many = (count: number, fields: Partial<LaneRecord> = {}): LaneRecord[] =>
    Array.from({ length: count }, (_, i) => lane({ hotkey: `m${i}`, ...fields }));

  it('is bounded in all, and then no miner goes before another', () => {
    const planned = (lanes: LaneRecord[], seed: number): PlannedCanary[] =>
      planCanaries(urgent({ lanes }), chanceFrom(seed));
    expect(planned(many(1_000), 1)).toHaveLength(100);
    expect(planned(many(200, { open: 2 }), 1)).toEqual([]);
    expect(
      planned(
        [...many(395, { open: 1, done: 3 }), ...many(50).map((one) => ({ ...one, hotkey: `n${one.hotkey}` }))],
        1,
      ),
    ).toHaveLength(5);
    const lucky = new Set(
      Array.from({ length: 60 }, (_, seed) => planned(many(1_000), seed))
        .flat()
        .map(({ hotkey }) => hotkey),
    );
    expect(lucky.size).toBeGreaterThan(980);
  });

  it('makes none after the end of an epoch that waits to be closed, and none with a floor of 0', () => {
    expect(planCanaries(urgent({ lanes: many(3), leftMs: 0 }), chanceFrom(1))).toEqual([]);
    const off = { floorPerEpoch: 0, knownShare: 1 };
    expect(planCanaries(urgent({ lanes: many(3), policy: off }), chanceFrom(1))).toEqual([]);
  });

  it('decides the same with the same chance', () => {
    fc.assert(
      fc.property(seeds, (seed) => expect(play({ seed, miners: 3 })).toEqual(play({ seed, miners: 3 }))),
      { numRuns: 20 },
    );
  });
});
