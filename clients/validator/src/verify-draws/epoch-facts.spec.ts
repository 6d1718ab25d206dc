import 'reflect-metadata';
import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { RegistryAway } from '../registry-client';
import { epochFacts, latestEpoch } from './epoch-facts';
import { Unreadable } from './unreadable';

/** A registry's log: `award 3` is one of epoch 3, `snapshot 2` ends epoch 2. Pages are short. */
function registryOf(...log: string[]) {
  const asked: number[] = [];
  const bodies = new Map<number, string>();
  const events = log.map((entry, index): ScoreEvent => {
    const [type, epoch] = [entry.split(' ')[0] as ScoreEvent['type'], Number(entry.split(' ')[1])];
    const common = { seq: index + 1, type, epoch, at: '' };
    if (type !== 'snapshot') {
      return {
        ...common,
        hotkey: 'ada',
        kind: 'lora-training',
        job_id: `job-${index + 1}`,
        points: '5',
        policy_version: 1,
      };
    }
    bodies.set(epoch, JSON.stringify({ epoch, ledger_seq: index }));
    return { ...common, sha256: sha256Hex(bodies.get(epoch)!) };
  });
  return {
    asked,
    events: async (after: number) => {
      asked.push(after);
      return { events: events.slice(after, after + 2), last_seq: events.length };
    },
    snapshot: async (epoch: number | 'latest') => {
      const newest = Math.max(...bodies.keys());
      return bodies.get(epoch === 'latest' ? newest : epoch) ?? null;
    },
  };
}

/** Epoch 3 opens when epoch 2 begins to close, after the close of epoch 1. */
const LOG = [
  'award 1',
  'award 2',
  'snapshot 1',
  'award 2',
  'award 3',
  'award 2',
  'reversal 2',
  'snapshot 2',
  'award 3',
  'award 4',
  'reversal 3',
  'snapshot 3',
  'award 4',
];

describe('the facts of an epoch', () => {
  it('are its awards, from before the close of the epoch before, and its snapshot with both hashes', async () => {
    const registry = registryOf(...LOG);
    const { awards, snapshot, served, announced } = await epochFacts(registry, 3);
    expect([...awards.keys()]).toEqual(['job-5', 'job-9']);
    expect(awards.get('job-5')).toEqual({ hotkey: 'ada', kind: 'lora-training', points: '5', policyVersion: 1 });
    expect(snapshot).toMatchObject({ epoch: 3, ledger_seq: 11 } satisfies Partial<Snapshot>);
    expect(announced).toBe(served);
  });

  it('are read from the close of the epoch before the one before, not from the beginning', async () => {
    const registry = registryOf(...LOG);
    await epochFacts(registry, 3);
    expect(Math.min(...registry.asked)).toBe(3);
    expect([...(await epochFacts(registry, 1)).awards.keys()]).toEqual(['job-1']);
    expect([...(await epochFacts(registry, 2)).awards.keys()]).toEqual(['job-2', 'job-4', 'job-6']);
  });

  it('are those of the newest closed epoch, where it is asked for', async () => {
    expect(await latestEpoch(registryOf(...LOG))).toBe(3);
    await expect(latestEpoch({ ...registryOf(), snapshot: async () => null })).rejects.toThrow(
      'no epoch is closed yet',
    );
  });

  it.each<[string, object, string]>([
    ['of an epoch that is open', { snapshot: async () => null }, 'epoch 3 is not closed yet, or there is none'],
    [
      'from a registry that is away',
      { events: async () => Promise.reject(new RegistryAway('http://r', 'it sleeps')) },
      'http://r does not answer: it sleeps: see that the registry runs',
    ],
    [
      'from a log with a gap',
      { events: async () => ({ events: [{ seq: 9 }], last_seq: 12 }) },
      'broken: 9 comes after 3',
    ],
    ['from a log that ends too early', { events: async () => ({ events: [], last_seq: 3 }) }, 'ends at 3, before 12'],
    [
      'from awards that are none',
      { events: async () => ({ events: [{ seq: 4, type: 'award', epoch: 3 }], last_seq: 12 }) },
      'event 4 of the log is no award',
    ],
    ['from what is no JSON', { snapshot: async () => '<html>' }, 'not valid JSON'],
  ])('cannot be had %s', async (_what, broken, message) => {
    const reading = epochFacts({ ...registryOf(...LOG), ...broken }, 3);
    await expect(reading).rejects.toThrow(Unreadable);
    await expect(reading).rejects.toThrow(message);
  });
});
