import type { AttemptRecord, ClaimedJob } from './dispatch.store';
import { Counter, type Registry } from 'prom-client';

/** What became of attempts that gave no result, and how often a slow one was hedged. */
export function dispatchMetrics(registry: Registry) {
  const ended = new Counter({
    name: 'querier_attempts_ended_total',
    help: 'Attempts that ended without a result',
    labelNames: ['kind', 'engine', 'state', 'blame'],
    registers: [registry],
  });
  const hedged = new Counter({
    name: 'querier_hedges_total',
    help: 'Second attempts beside a slow one',
    labelNames: ['kind', 'engine'],
    registers: [registry],
  });
  return {
    ended: ({ state, blame }: AttemptRecord, { kind, engine }: ClaimedJob) => ended.inc({ kind, engine, state, blame }),
    hedged: ({ kind, engine }: ClaimedJob) => hedged.inc({ kind, engine }),
  };
}
