import { SCORES_STREAM } from '@studio/shared/contract/subjects';
import { openTestScores, type TestScores } from '@studio/shared/testing/nats';
import type { RelayLog, RelayStore } from './relay.store';
import { ScoreRelay } from './score-relay';

let scores: TestScores;
beforeAll(async () => void (scores = await openTestScores()));
afterAll(() => scores?.close());

/** Nothing has happened yet: one run makes the stream. */
const empty = { publishedSeq: 0, lastSeq: 0, events: async () => [] } as unknown as RelayLog;
const store = { exclusively: (work: (log: RelayLog) => Promise<boolean>) => work(empty) } as unknown as RelayStore;
const log = { info: () => undefined, warn: () => undefined };

const relay = (replicas: number): ScoreRelay =>
  new ScoreRelay({ store, link: { get: async () => scores.connection }, replicas, log });

it('asks for as many copies of the stream as it is told, which a server alone refuses', async () => {
  await expect(relay(3).run()).rejects.toThrow(/replicas > 1 not supported/);
  await relay(1).run();
  const { config } = await (await scores.connection.jetstreamManager()).streams.info(SCORES_STREAM);
  expect(config.num_replicas).toBe(1);
});
