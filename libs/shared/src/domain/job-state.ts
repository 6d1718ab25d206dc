/**
 * The life of a job as one transition table. Every writer of `jobs.state` goes through it: the stores build their SQL
 * predicates from `statesAllowing`, so that no UPDATE can invent a transition of its own.
 *
 * Who moves a row out of each state:
 * - **queued**: the worker that claims it, by picking it up or by being handed it after the insert.
 * - **running**: the worker that holds its lease; once the lease has run out, the worker that resumes it.
 * - **awaiting-callback**: whoever receives the miner's callback; or the worker that resumes it after the lease ran out.
 * - **succeeded, failed, cancelled, expired**: nobody. They are terminal.
 *
 * In every other state the client may cancel and the deadline sweeper may expire.
 */
import type { JobState } from './job';

/**
 * - `claim`: a worker takes the job from the queue under a new lease.
 * - `resume`: a worker takes over a job whose lease ran out, with its open attempts (it does not punish them).
 * - `accepted`: a miner answered 202; the result will come as a callback. A hedge may be accepted while another waits.
 * - `release`: back to the queue, because every miner was busy or because the attempt ended and another miner is due.
 *   Only without an open attempt: a queued job has nobody to whom a result could still come.
 * - `succeed`, `fail`, `cancel`, `expire`: the four ends.
 */
export const JOB_EVENTS = ['claim', 'resume', 'accepted', 'release', 'succeed', 'fail', 'cancel', 'expire'] as const;

export type JobEvent = (typeof JOB_EVENTS)[number];

/** A missing entry is a refused transition. */
const TRANSITIONS: Readonly<Record<JobState, Readonly<Partial<Record<JobEvent, JobState>>>>> = {
  queued: {
    claim: 'running',
    cancel: 'cancelled',
    expire: 'expired',
  },
  running: {
    resume: 'running',
    accepted: 'awaiting-callback',
    release: 'queued',
    succeed: 'succeeded',
    fail: 'failed',
    cancel: 'cancelled',
    expire: 'expired',
  },
  'awaiting-callback': {
    resume: 'running',
    accepted: 'awaiting-callback',
    release: 'queued',
    succeed: 'succeeded',
    fail: 'failed',
    cancel: 'cancelled',
    expire: 'expired',
  },
  succeeded: {},
  failed: {},
  cancelled: {},
  expired: {},
};

export const JOB_STATES = Object.keys(TRANSITIONS) as readonly JobState[];

/** The state after `event`, or undefined where the table refuses it. */
export function nextState(state: JobState, event: JobEvent): JobState | undefined {
  return TRANSITIONS[state][event];
}

/** Whether nothing can ever move a job out of `state`. */
export function isTerminal(state: JobState): boolean {
  return Object.keys(TRANSITIONS[state]).length === 0;
}

/** The states in which `event` is allowed, in the table's order: the `state IN (…)` of an UPDATE. */
export function statesAllowing(event: JobEvent): JobState[] {
  return JOB_STATES.filter((state) => nextState(state, event) !== undefined);
}
