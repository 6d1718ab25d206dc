/**
 * Every NATS subject, once. Grammar: `<owner>.<noun>.<verb>` for commands, `<noun>.<past or state>[.<kind>]` for hints,
 * `scores.…` inside the stream SCORES and `deliver.…` out of it, in an account of NATS that carries nothing else.
 *
 * Delivery rules: a *command* is request/reply, idempotent, repeated by its sender until answered. A *hint* is core
 * NATS, may be lost, and only says "look in Postgres now"; a sweeper finds what a lost hint would have told.
 * A *stream* message is a copy of a Postgres row, republished when the broker has lost it.
 */
import type { JobKind } from '../domain/job';

export type Party = 'querier' | 'auditor' | 'registry';

export interface SubjectRule {
  subject: string;
  form: 'command' | 'hint' | 'stream';
  /** Who answers (command), who says it (hint), who publishes (stream): the one owner. */
  owner: Party;
  /** Who sends the command, or listens. */
  peers: readonly (Party | 'validator')[];
  /** Name of the payload in contract/. */
  payload: string;
}

export const SUBJECTS = {
  /** Audit jobs enter by the same door as organic ones. */
  submitJob: {
    subject: 'querier.jobs.submit',
    form: 'command',
    owner: 'querier',
    peers: ['auditor'],
    payload: 'SubmitJobCommand → SubmitJobReply',
  },
  jobReady: { subject: 'jobs.ready.*', form: 'hint', owner: 'querier', peers: ['querier'], payload: '(empty)' },
  jobFinished: {
    subject: 'jobs.finished',
    form: 'hint',
    owner: 'querier',
    peers: ['auditor', 'querier'],
    payload: '(empty)',
  },
  /** An API key was revoked or limited: every api looks its keys up anew. Behind it stands the time that a look-up is kept. */
  keysChanged: { subject: 'keys.changed', form: 'hint', owner: 'querier', peers: ['querier'], payload: '(empty)' },
  routableMiners: {
    subject: 'registry.miners.routable',
    form: 'command',
    owner: 'registry',
    peers: ['querier'],
    payload: '(empty) → RoutableMiners',
  },
  minersChanged: {
    subject: 'registry.miners.changed',
    form: 'hint',
    owner: 'registry',
    peers: ['querier'],
    payload: '(empty)',
  },
  trustChanged: {
    subject: 'auditor.trust.changed',
    form: 'hint',
    owner: 'auditor',
    peers: ['querier'],
    payload: '(empty)',
  },
  appealFiled: {
    subject: 'registry.appeals.filed',
    form: 'hint',
    owner: 'registry',
    peers: ['auditor'],
    payload: '(empty)',
  },
  appendLedger: {
    subject: 'registry.ledger.append',
    form: 'command',
    owner: 'registry',
    peers: ['auditor'],
    payload: 'AppendLedgerCommand → AppendLedgerReply',
  },
  epochChanged: {
    subject: 'registry.epochs.changed',
    form: 'hint',
    owner: 'registry',
    peers: ['auditor'],
    payload: '(empty)',
  },
  epochSettled: {
    subject: 'auditor.epochs.settled',
    form: 'hint',
    owner: 'auditor',
    peers: ['registry'],
    payload: '(empty)',
  },
  /** The log of score events has grown: relays and streams of every replica look. */
  scoresAppended: {
    subject: 'registry.scores.appended',
    form: 'hint',
    owner: 'registry',
    peers: ['registry'],
    payload: '(empty)',
  },
  scoreEvent: {
    subject: 'scores.*.*',
    form: 'stream',
    owner: 'registry',
    peers: ['validator'],
    payload: 'ScoreEvent',
  },
  snapshotEvent: {
    subject: 'scores.snapshot.*',
    form: 'stream',
    owner: 'registry',
    peers: ['validator'],
    payload: 'ScoreEvent of type snapshot',
  },
  /** From a validator's own consumer: SCORES from where it asked for, and idle heartbeats. */
  scoreDelivery: {
    subject: 'deliver.*',
    form: 'stream',
    owner: 'registry',
    peers: ['validator'],
    payload: 'ScoreEvent',
  },
} as const satisfies Record<string, SubjectRule>;

/** The JetStream stream that validators listen to. */
export const SCORES_STREAM = 'SCORES';
export const SCORES_STREAM_SUBJECTS = ['scores.>'];

export const jobReadySubject = (kind: JobKind): string => `jobs.ready.${kind}`;
/** `scores.<epoch>.<hotkey>`: an SS58 hotkey has no dots, so it is one token. */
export const scoreEventSubject = (epoch: number, hotkey: string): string => `scores.${epoch}.${hotkey}`;
export const snapshotEventSubject = (epoch: number): string => `scores.snapshot.${epoch}`;
/** All that a validator may listen to; `{{name()}}` where the server puts the name in. */
export const scoresDeliverSubject = (validator: string): string => `deliver.${validator}`;
