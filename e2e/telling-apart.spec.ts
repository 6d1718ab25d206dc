import { Chance } from '@studio/simulations/chance';
import { learn } from './learned-attack';
import { ALPHA, attack, compareFacts, formsOfOneSide, type Observation } from './telling-apart';
import { beyondChance, compare, ksDistance, ksLimit, type Labelled } from './two-sample';

const SEED = 7;

/** Box and Muller. */
const normal = (chance: Chance): number =>
  Math.sqrt(-2 * Math.log(1 - chance.next())) * Math.cos(2 * Math.PI * chance.next());

describe('the distance of two samples', () => {
  it.each([
    { one: [1, 2, 3], other: [1, 2, 3], distance: 0 },
    { one: [1, 2, 3], other: [4, 5], distance: 1 },
    { one: [1, 2, 3, 4], other: [3, 4, 5, 6], distance: 1 / 2 },
    // Ties count together: 3 of 4 are 0 here, 1 of 4 there.
    { one: [0, 0, 0, 1], other: [0, 1, 1, 1], distance: 1 / 2 },
  ])('of $one and $other is $distance', ({ one, other, distance }) => {
    expect(ksDistance(one, other)).toBeCloseTo(distance, 12);
    expect(ksDistance(other, one)).toBeCloseTo(distance, 12);
  });

  it('has the known limits in large samples', () => {
    const size = 1e8;
    // Kolmogorov's distribution, as printed in every table.
    for (const [lambda, p] of [
      [1.2238, 0.1],
      [1.3581, 0.05],
      [1.6276, 0.01],
      [1.9495, 0.001],
    ] as const) {
      expect(ksLimit(lambda / Math.sqrt(size / 2), [size, size])).toBeCloseTo(p, 4);
    }
    expect(ksLimit(0, [10, 10])).toBe(1);
  });
});

/** Every way to label these values, the number of labels in each stratum kept. */
function exactP(sample: readonly Labelled[]): number {
  const strata = [...new Set(sample.map(({ stratum }) => stratum))];
  const marked = (labels: readonly boolean[], stratum: string): number =>
    labels.filter((label, index) => label && sample[index]!.stratum === stratum).length;
  const own = sample.map(({ isMarked }) => isMarked);
  const wanted = strata.map((stratum) => marked(own, stratum));
  const distances = Array.from({ length: 2 ** sample.length }, (_, bits) =>
    sample.map((_item, index) => ((bits >> index) & 1) === 1),
  )
    .filter((labels) => strata.every((stratum, index) => marked(labels, stratum) === wanted[index]))
    .map((labels) => compare(sample.map((item, index) => ({ ...item, isMarked: labels[index]! })), new Chance(1)).distance); // prettier-ignore
  const { distance } = compare(sample, new Chance(1));
  return distances.filter((other) => other >= distance - 1e-12).length / distances.length;
}

describe('the p-value of a distance', () => {
  it.each([
    { name: 'without ties', values: [1, 2, 3, 4, 5, 6, 7, 8, 9], marks: [0, 0, 1, 0, 0, 0, 1, 1, 1], strata: 1 },
    { name: 'with ties', values: [1, 1, 1, 1, 2, 2, 2, 3, 3], marks: [0, 0, 0, 1, 0, 0, 1, 1, 1], strata: 1 },
    { name: 'of yes and no', values: [0, 0, 0, 0, 0, 1, 1, 1, 1], marks: [0, 0, 0, 0, 1, 0, 1, 1, 1], strata: 1 },
    { name: 'in strata', values: [1, 50, 2, 60, 3, 70, 4, 80, 5], marks: [0, 0, 0, 1, 1, 0, 1, 1, 1], strata: 2 },
  ])('is that of all labellings: $name', ({ values, marks, strata }) => {
    const sample = values.map((value, index) => ({
      value,
      isMarked: marks[index] === 1,
      stratum: String(index % strata),
    }));
    const exact = exactP(sample);
    // The mean of many: one alone is known to a fifth, and is a twentieth too large on average.
    const tries = Array.from({ length: 200 }, (_, seed) => compare(sample, new Chance(seed + 1)).p);
    const ratio = tries.reduce((sum, p) => sum + p, 0) / tries.length / exact;
    expect(ratio).toBeGreaterThan(0.95);
    expect(ratio).toBeLessThan(1.12);
  });

  it('comes near to the limit where samples are large', () => {
    const chance = new Chance(SEED);
    const sample = Array.from({ length: 600 }, (_, index) => ({
      value: normal(chance) + (index % 3 === 0 ? 0.25 : 0),
      isMarked: index % 3 === 0,
      stratum: '',
    }));
    const { distance, p } = compare(sample, chance);
    const limit = ksLimit(distance, [200, 400]);
    expect(limit).toBeLessThan(0.2);
    expect(Math.abs(Math.log(p / limit))).toBeLessThan(Math.log(2));
  });

  it('is below a bound as often as the bound says, where there is no difference', () => {
    const chance = new Chance(SEED);
    const ps = Array.from({ length: 1_000 }, () => {
      const sample = Array.from({ length: 60 }, (_, index) => ({
        value: Math.floor(5 * chance.next()) * (index % 2 === 0 ? 1 : 100),
        isMarked: chance.happens(0.3),
        stratum: String(index % 2),
      }));
      return compare(sample, chance).p;
    });
    // 50 expected; four standard deviations more are 78.
    expect(ps.filter((p) => p <= 0.05).length).toBeLessThan(78);
    expect(ps.filter((p) => p <= 0.05).length).toBeGreaterThan(20);
  });

  it('sees nothing in strata whose values and shares of labels both differ', () => {
    const chance = new Chance(SEED);
    const sample = Array.from({ length: 600 }, (_, index) => {
      const isLate = index >= 300;
      return { value: normal(chance) + (isLate ? 10 : 0), isMarked: chance.happens(isLate ? 0.6 : 0.2), stratum: '' };
    });
    expect(compare(sample, chance).p).toBeLessThan(1e-4);
    const apart = sample.map((item, index) => ({ ...item, stratum: index >= 300 ? 'late' : 'early' }));
    expect(compare(apart, chance).p).toBeGreaterThan(0.001);
  });
});

it('knows when a row of tosses is more than luck', () => {
  // P(X ≥ 9 of 10) = 11/1024, P(X = 10) = 1/1024.
  expect(beyondChance(10, 0.011)).toBe(9);
  expect(beyondChance(10, 0.001)).toBe(10);
  expect(beyondChance(10, 0.0009)).toBe(11);
  // 50 + 3.09 standard deviations of 5, rounded up.
  expect(beyondChance(100, 0.001)).toBe(66);
});

type Plant = (isAudit: boolean, chance: Chance) => Partial<Observation['facts']>;

/** Requests as one run of the whole system gives them, with something planted in the audits. */
function requests(plant: Plant, seed = SEED): Observation[] {
  const chance = new Chance(seed);
  return Array.from({ length: 480 }, (_, index): Observation => {
    const isAudit = chance.happens(1 / 3);
    const facts: Record<string, number> = {};
    for (let fact = 0; fact < 20; fact += 1) facts[`noise ${fact}`] = normal(chance);
    const usual = {
      bytes: chance.whole(650, 750),
      waitMs: 15 + chance.wait(10),
      lifetimeMs: 3_600_000 - chance.wait(400),
      isFresh: Number(chance.happens(0.1)),
    };
    Object.assign(facts, usual, plant(isAudit, chance));
    const half = Math.floor(index / 20) % 2 === 0 ? 0 : 1;
    return {
      isAudit,
      stratum: index % 4 === 0 ? 'training' : 'inference',
      half,
      form: 'POST',
      replies: { 'callback 200': 'date' },
      facts,
    };
  });
}

describe('of two classes of requests', () => {
  const found = (observations: Observation[]): string[] =>
    compareFacts(observations, SEED)
      .filter(({ isDifferent }) => isDifferent)
      .map(({ fact }) => fact);
  const isFoundOut = (observations: Observation[]): boolean => {
    const { right, luckEnds } = attack(observations, SEED);
    return right >= luckEnds;
  };

  it('that are alike, none of the facts and no attack says which is which', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const observations = requests(() => ({}), seed);
      expect(found(observations)).toEqual([]);
      expect(isFoundOut(observations)).toBe(false);
    }
  });

  it.each<{ what: string; fact: string; plant: Plant }>([
    {
      what: 'a body that is 10 % longer',
      fact: 'bytes',
      plant: (isAudit, chance) => ({ bytes: chance.whole(650, 750) * (isAudit ? 1.1 : 1) }),
    },
    {
      what: 'links that live 10 % shorter',
      fact: 'lifetimeMs',
      plant: (isAudit, chance) => ({ lifetimeMs: (isAudit ? 3_240_000 : 3_600_000) - chance.wait(400) }),
    },
    {
      what: 'a wait that is 30 ms longer',
      fact: 'waitMs',
      plant: (isAudit, chance) => ({ waitMs: 15 + chance.wait(10) + (isAudit ? 30 : 0) }),
    },
    {
      what: 'a fresh connection for half of the audits',
      fact: 'isFresh',
      plant: (isAudit, chance) => ({ isFresh: Number(chance.happens(isAudit ? 0.5 : 0.1)) }),
    },
  ])('$what is found, and is enough for the attack', ({ fact, plant }) => {
    const observations = requests(plant);
    expect(found(observations)).toEqual([fact]);
    expect(isFoundOut(observations)).toBe(true);
  });

  it('many small differences are found by the attack, though none of them shows alone', () => {
    const observations = requests((isAudit, chance) => {
      const hints = Array.from({ length: 20 }, (_, index) => [`hint ${index}`, normal(chance) + (isAudit ? 0.3 : 0)]);
      return Object.fromEntries(hints) as Record<string, number>;
    });
    expect(found(observations)).toEqual([]);
    expect(isFoundOut(observations)).toBe(true);
  });

  it('a form that only one of them has is named', () => {
    const observations = requests(() => ({})).map((item, index) =>
      item.isAudit && index > 400 ? { ...item, form: 'POST x-house' } : item,
    );
    expect(formsOfOneSide(observations)).toEqual({ audits: ['POST x-house'], others: [] });
  });

  it('a reply that looks otherwise is named where both get its status, and counted where only one does', () => {
    const changed = (replies: Record<string, string>): Observation[] =>
      requests(() => ({})).map((item, index) => (item.isAudit && index > 400 ? { ...item, replies } : item));
    expect(formsOfOneSide(changed({ 'callback 200': 'date|x-house' }))).toEqual({
      audits: ['callback 200: date|x-house'],
      others: [],
    });
    expect(formsOfOneSide(changed({ 'callback 409': 'date|x-house' }))).toEqual({ audits: [], others: [] });
  });
});

it('the attack holds both classes for equally likely, however rare one is', () => {
  const chance = new Chance(SEED);
  const cases = Array.from({ length: 400 }, (_, index) => {
    const isMarked = index % 10 === 0;
    return { facts: [normal(chance) + (isMarked ? 3 : 0)], isMarked };
  });
  const guess = learn(cases);
  const right = (isMarked: boolean): number => {
    const own = cases.filter((item) => item.isMarked === isMarked);
    return own.filter(({ facts }) => guess(facts) === isMarked).length / own.length;
  };
  expect(right(true)).toBeGreaterThan(0.85);
  expect(right(false)).toBeGreaterThan(0.85);
  expect(ALPHA).toBeLessThanOrEqual(0.001);
});
