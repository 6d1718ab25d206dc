import fc from 'fast-check';
import type { MinerScore, ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { scoresAt, type LedgerEntry } from '@studio/shared/domain/score-window';
import { weightsFor } from '@studio/shared/domain/weights';
import { canonicalJson, sha256Hex } from '@studio/shared/protocol/canonical';
import { BrokenLog, LedgerCopy } from './ledger-copy';
import { checkSnapshot } from './snapshot-check';

const SECRET = 'ab'.repeat(32);

/** An award as an event; job, id and time play no part in sums. */
function award(seq: number, hotkey: string, points: string, fields: Partial<ScoreEvent> = {}): ScoreEvent {
  return { seq, type: 'award', epoch: 3, at: '', hotkey, kind: 'lora-training', points, ...fields };
}

const EVENTS: ScoreEvent[] = [
  award(1, 'alice', '700000'),
  award(2, 'bob', '300000', { kind: 'lora-inference' }),
  award(3, 'bob', '650000'),
  award(4, 'carol', '400000'),
  award(5, 'carol', '-400000', { type: 'reversal' }),
  award(6, 'alice', '-700000', { type: 'reversal' }),
  award(7, 'alice', '700000', { type: 'restoration' }),
];

function copyOf(events: readonly ScoreEvent[]): LedgerCopy {
  const copy = new LedgerCopy();
  events.forEach((event) => copy.apply(event));
  return copy;
}

/** What an honest registry would publish for EVENTS at the close of `epoch`. */
function honestSnapshot(epoch = 3, metagraph: Snapshot['metagraph'] = null): Snapshot {
  const all = copyOf(EVENTS).scores({ epoch, windowEpochs: DEFAULT_POLICY.windowEpochs });
  const own = new Map([...all].filter(([hotkey]) => metagraph === null || hotkey in metagraph.uids));
  const { outcome, miners } = weightsFor(new Map([...own].map(([key, { points }]) => [key, points])), DEFAULT_POLICY);
  return {
    epoch,
    ledger_seq: EVENTS.length,
    policy: DEFAULT_POLICY,
    outcome,
    metagraph,
    miners: miners.map(({ hotkey, points, winRate, weight, u16 }): MinerScore => {
      const { pointsByKind, validJobs } = own.get(hotkey)!;
      const ofKind = (kind: 'lora-training' | 'lora-inference'): string => String(pointsByKind[kind] ?? 0n);
      return {
        hotkey,
        points: String(points),
        points_by_kind: { 'lora-training': ofKind('lora-training'), 'lora-inference': ofKind('lora-inference') },
        valid_jobs: validJobs,
        win_rate: winRate,
        weight,
        u16,
      };
    }),
    draw: { commitment: sha256Hex(Buffer.from(SECRET, 'hex')), secret: SECRET },
    opened_at: '2026-01-01T00:00:00.000Z',
    closing_at: '2026-01-01T01:12:00.000Z',
  };
}

/** Published with its true hash: only its content can be wrong. */
function check(snapshot: unknown, epoch = 3) {
  const body = canonicalJson(snapshot);
  const event: ScoreEvent = { seq: EVENTS.length + 1, type: 'snapshot', epoch, at: '', sha256: sha256Hex(body) };
  return checkSnapshot(body, event, copyOf(EVENTS));
}

const nextUp = (x: number): number => {
  const bits = new BigInt64Array(new Float64Array([x]).buffer);
  return new Float64Array(new BigInt64Array([bits[0]! + 1n]).buffer)[0]!;
};

describe('a snapshot', () => {
  it('that equals the own copy of the log becomes weights', () => {
    const snapshot = honestSnapshot();
    expect(snapshot.miners.map(({ hotkey }) => hotkey)).toEqual(['alice', 'bob']);
    expect(check(snapshot)).toEqual({
      ok: true,
      weights: {
        epoch: 3,
        outcome: 'OK',
        hotkeys: snapshot.miners.filter(({ u16 }) => u16 > 0).map(({ hotkey }) => hotkey),
        weights: snapshot.miners.map(({ u16 }) => u16).filter((u16) => u16 > 0),
        snapshot_sha256: sha256Hex(canonicalJson(snapshot)),
      },
      miners: snapshot.miners,
      epochMs: 72 * 60_000,
      emptyBecause: null,
    });
  });

  it('with an epoch of no length is timed by the usual one', () => {
    const policy = { ...DEFAULT_POLICY, blockMs: 0 };
    expect(check({ ...honestSnapshot(), policy })).toMatchObject({ ok: true, epochMs: 72 * 60_000 });
  });

  it('without scores is an outcome of its own, with nothing to set', () => {
    const snapshot = honestSnapshot(40);
    expect(snapshot.miners).toEqual([]);
    expect(check(snapshot, 40)).toMatchObject({
      ok: true,
      weights: { outcome: 'NO_SCORES', hotkeys: [], weights: [] },
      emptyBecause: 'no miner has a valid job in the 20 epochs of the window',
    });
    const strangers = honestSnapshot(3, { block: 5, uids: { nobody: 0 } });
    expect(check(strangers)).toMatchObject({
      weights: { outcome: 'NO_SCORES' },
      emptyBecause: expect.stringMatching(/^none of the 2 miners .* is in the metagraph/),
    });
  });

  it.each<[string, (snapshot: Snapshot) => unknown, string]>([
    ['one millionth of a point', (s) => (s.miners[0]!.points = '700001'), 'points of alice is 700001'],
    ['points under the wrong kind', (s) => (s.miners[0]!.points_by_kind['lora-inference'] = '1'), 'lora-inference'],
    ['the last bit of a share', (s) => (s.miners[1]!.weight = nextUp(s.miners[1]!.weight)), 'weight of bob'],
    ['the last bit of a win rate', (s) => (s.miners[1]!.win_rate = nextUp(0.5)), 'win rate of bob'],
    ['one step of u16', (s) => (s.miners[1]!.u16 -= 1), 'u16 of bob is 65534'],
    ['a job counted twice', (s) => (s.miners[0]!.valid_jobs = 2), 'valid jobs of alice'],
    ['a miner left out', (s) => s.miners.pop(), 'number of miners is 1'],
    ['a miner made up', (s) => s.miners.push({ ...s.miners[1]!, hotkey: 'zoe' }), 'number of miners is 3'],
    ['an epoch that is not its own', (s) => (s.epoch = 4), 'epoch is 4'],
    ['entries that came later', (s) => (s.ledger_seq = 8), 'ledger_seq is 8'],
    ['another outcome', (s) => (s.outcome = 'NO_SCORES'), 'outcome is NO_SCORES'],
    ['a secret that was not committed to', (s) => (s.draw.secret = 'cd'.repeat(32)), 'SHA-256 of draw.secret'],
    ['a temperature that has no meaning', (s) => (s.policy = { ...s.policy, temperature: 0 }), 'temperature'],
    ['no policy', (s) => delete (s as Partial<Snapshot>).policy, 'cannot be read'],
  ])('with %s is refused', (_what, spoil, problem) => {
    const snapshot = structuredClone(honestSnapshot());
    spoil(snapshot);
    const verdict = check(snapshot);
    expect(verdict).toEqual({ ok: false, problems: expect.arrayContaining([expect.stringContaining(problem)]) });
  });

  it('with a metagraph weighs its members only, whatever the log holds of others', () => {
    const snapshot = honestSnapshot(3, { block: 5, uids: { bob: 7, nobody: 0 } });
    expect(snapshot.miners.map(({ hotkey }) => hotkey)).toEqual(['bob']);
    expect(check(snapshot)).toMatchObject({ ok: true, weights: { hotkeys: ['bob'], weights: [65_535] } });
    const everybody = { ...honestSnapshot(), metagraph: snapshot.metagraph };
    expect(check(everybody)).toMatchObject({
      problems: expect.arrayContaining(['number of miners is 2, recomputed 1']),
    });
    const nobody = { ...snapshot, metagraph: null };
    expect(check(nobody)).toMatchObject({ ok: false });
  });

  it.each<[string, unknown]>([
    ['missing', undefined],
    ['without members', { block: 5 }],
    ['with a uid twice', { block: 5, uids: { alice: 1, bob: 1 } }],
    ['with a uid that is none', { block: 5, uids: { alice: -1, bob: 2 } }],
    ['with a block that is none', { block: '5', uids: { alice: 1, bob: 2 } }],
  ])('is refused with a metagraph %s', (_what, metagraph) => {
    const verdict = check({ ...honestSnapshot(), metagraph });
    expect(verdict).toEqual({ ok: false, problems: [expect.stringMatching(/metagraph/)] });
  });

  it('is refused when its text is not the one that the log announced', () => {
    const event: ScoreEvent = { seq: 8, type: 'snapshot', epoch: 3, at: '', sha256: sha256Hex('{}') };
    const honest = canonicalJson(honestSnapshot());
    expect(checkSnapshot(honest, event, copyOf(EVENTS))).toMatchObject({ ok: false });
    const spaced = JSON.stringify(honestSnapshot(), null, 2);
    const announced = { ...event, sha256: sha256Hex(spaced) };
    expect(checkSnapshot(spaced, announced, copyOf(EVENTS))).toMatchObject({
      problems: ['the snapshot is not canonical JSON (RFC 8785)'],
    });
  });
});

describe('the copy of the log', () => {
  it('refuses a gap, a repetition and what is no event, and stays as it was', () => {
    const copy = copyOf(EVENTS);
    const before = JSON.stringify(copy.toState());
    for (const event of [
      award(9, 'alice', '1'),
      award(7, 'alice', '1'),
      award(8, 'alice', '-1'),
      award(8, 'alice', '1', { type: 'reversal' }),
      award(8, 'alice', '-1', { type: 'restoration' }),
      award(8, 'alice', '1e3'),
      award(8, 'alice', '1', { kind: undefined }),
      award(8, 'alice', '1', { type: 'gift' as 'award' }),
      award(8, 'alice', '1', { type: 'toString' as 'award' }),
    ]) {
      expect(() => copy.apply(event)).toThrow(BrokenLog);
    }
    expect(JSON.stringify(copy.toState())).toBe(before);
  });

  it('sums every window as the domain does, also after a restart in the middle', () => {
    const entry = fc.record({
      hotkey: fc.constantFrom('alice', 'bob', 'carol'),
      kind: fc.constantFrom('lora-training' as const, 'lora-inference' as const),
      epoch: fc.integer({ min: 1, max: 6 }),
      points: fc.bigInt({ min: 0n, max: 10n ** 17n }),
      fate: fc.constantFrom('stands' as const, 'reversed' as const, 'restored' as const),
    });
    fc.assert(
      fc.property(fc.array(entry), fc.nat(4), fc.integer({ min: 1, max: 6 }), (drawn, windowEpochs, epoch) => {
        const entries = drawn.flatMap(({ fate, ...fields }, index): LedgerEntry[] => {
          const given = { ...fields, id: '', jobId: `${index}`, reason: '', policyVersion: 1, type: 'award' as const };
          const taken = { ...given, type: 'reversal' as const, points: -fields.points };
          const all: LedgerEntry[] = [given, taken, { ...given, type: 'restoration' }];
          return all.slice(0, { stands: 1, reversed: 2, restored: 3 }[fate]);
        });
        let copy = new LedgerCopy();
        entries.forEach(({ type, hotkey, kind, epoch: of, points }, index) => {
          copy.apply({ seq: index + 1, type, epoch: of, at: '', hotkey, kind, points: points.toString() });
          if (index % 5 === 2) copy = LedgerCopy.from(JSON.parse(JSON.stringify(copy.toState())));
        });
        expect(copy.scores({ epoch, windowEpochs })).toEqual(scoresAt(entries, { epoch, windowEpochs }));
      }),
    );
  });
});
