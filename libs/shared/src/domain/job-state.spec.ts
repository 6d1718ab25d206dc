import * as fc from 'fast-check';
import type { JobState } from './job';
import { isTerminal, JOB_EVENTS, JOB_STATES, nextState, statesAllowing, type JobEvent } from './job-state';

/** The table once more, written independently of the source: state, then the outcome of every event in turn. */
const EXPECTED: Record<JobState, Record<JobEvent, JobState | undefined>> = {
  queued: {
    claim: 'running',
    resume: undefined,
    accepted: undefined,
    release: undefined,
    succeed: undefined,
    fail: undefined,
    cancel: 'cancelled',
    expire: 'expired',
  },
  running: {
    claim: undefined,
    resume: 'running',
    accepted: 'awaiting-callback',
    release: 'queued',
    succeed: 'succeeded',
    fail: 'failed',
    cancel: 'cancelled',
    expire: 'expired',
  },
  'awaiting-callback': {
    claim: undefined,
    resume: 'running',
    accepted: 'awaiting-callback',
    release: 'queued',
    succeed: 'succeeded',
    fail: 'failed',
    cancel: 'cancelled',
    expire: 'expired',
  },
  succeeded: refusesEverything(),
  failed: refusesEverything(),
  cancelled: refusesEverything(),
  expired: refusesEverything(),
};

function refusesEverything(): Record<JobEvent, undefined> {
  return {
    claim: undefined,
    resume: undefined,
    accepted: undefined,
    release: undefined,
    succeed: undefined,
    fail: undefined,
    cancel: undefined,
    expire: undefined,
  };
}

const TERMINAL: JobState[] = ['succeeded', 'failed', 'cancelled', 'expired'];
const PAIRS = (Object.keys(EXPECTED) as JobState[]).flatMap((state) =>
  JOB_EVENTS.map((event) => [state, event, EXPECTED[state][event]] as const),
);

describe('job state', () => {
  it('covers seven states and eight events', () => {
    expect(PAIRS).toHaveLength(56);
    expect([...JOB_STATES].sort()).toEqual(Object.keys(EXPECTED).sort());
  });

  it.each(PAIRS)('%s on %s gives %s', (state, event, next) => {
    expect(nextState(state, event)).toBe(next);
  });

  it('knows exactly four terminal states', () => {
    expect(JOB_STATES.filter(isTerminal).sort()).toEqual([...TERMINAL].sort());
  });

  it.each(JOB_EVENTS)('lists for SQL exactly the states that allow %s', (event) => {
    const allowed = PAIRS.filter(([, e, next]) => e === event && next !== undefined).map(([state]) => state);
    expect(statesAllowing(event)).toEqual(allowed);
    expect(statesAllowing(event).some(isTerminal)).toBe(false);
  });

  it('never leaves a terminal state, whatever happens to a job', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...JOB_EVENTS), { maxLength: 30 }), (events) => {
        let state: JobState = 'queued';
        let ended: JobState | undefined;
        for (const event of events) {
          state = nextState(state, event) ?? state;
          if (ended) expect(state).toBe(ended);
          if (isTerminal(state)) ended = state;
        }
      }),
    );
  });

  it('can end every unfinished job by cancel and by expire', () => {
    for (const state of JOB_STATES.filter((s) => !isTerminal(s))) {
      expect(nextState(state, 'cancel')).toBe('cancelled');
      expect(nextState(state, 'expire')).toBe('expired');
    }
  });
});
