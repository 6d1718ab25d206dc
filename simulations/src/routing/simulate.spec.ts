import { SCENARIOS } from './scenarios';
import { simulate, type Outcome } from './simulate';

const SMALL = { miners: 16, operators: 12, spanJobs: 18 };

describe('routing in virtual time', () => {
  let outcomes: Outcome[];

  beforeAll(async () => {
    outcomes = await simulate(SMALL, 7, () => undefined);
  });

  it.each(SCENARIOS.map(({ name }) => name))('keeps its promises: %s', (name) => {
    const broken = outcomes.filter(({ scenario }) => scenario === name).map((outcome) => outcome.broken);
    expect(broken.flat()).toEqual([]);
  });
});
