import type { InferenceInput, JobResult } from '@studio/shared/domain/job';
import { DEMO_POLICY } from '@studio/shared/domain/policy';
import type { AuditCase, Replayer, ReplayRow } from './audit-case';
import { exact } from './comparators/exact';
import { judgmentOf, type Judgment } from './judgment';
import { lastVerdict, nextStep, type Step } from './next-step';

const imageResult = (pixelHash: string): JobResult => ({
  images: [{ sha256: pixelHash, bytes: 1, contentType: 'image/png', width: 64, height: 64, pixelHash }],
});
const lora = { sha256: 'f', bytes: 1, contentType: 'x/y', rank: 4, tensorHash: 'f' };
const INPUT: InferenceInput = { lora, prompt: '', width: 64, height: 64, seed: 1, loraScale: 1, warp: 0, numImages: 1 };

const HONEST = imageResult('a'.repeat(64));
const CHEAT = imageResult('b'.repeat(64));
const OTHER = imageResult('c'.repeat(64));

const reference: Replayer = { hotkey: 'reference', operator: 'house', trusted: true };
const peers: Replayer[] = ['p1', 'p2', 'p3'].map((hotkey) => ({ hotkey, operator: hotkey, trusted: false }));

const auditOf = (fields: Partial<AuditCase> = {}): AuditCase => ({
  id: 'audit',
  round: 1,
  why: 'draw',
  suspicion: null,
  jobId: 'job',
  attemptNo: 1,
  hotkey: 'target',
  operator: 'target',
  kind: 'lora-inference',
  engine: 'ref-sep-v1',
  epoch: 1,
  policy: DEMO_POLICY,
  q: 0.1,
  u: '5',
  input: INPUT,
  result: CHEAT,
  private: false,
  closing: false,
  seenBy: ['target'],
  replays: [],
  ...fields,
});

const replay = (ordinal: number, fields: Partial<ReplayRow>): ReplayRow => ({
  ordinal,
  judge: 'peer',
  requestKey: `key-${ordinal}`,
  routing: {},
  jobId: `replay-${ordinal}`,
  state: 'running',
  failedMsAgo: null,
  done: null,
  ...fields,
});
const done = (ordinal: number, hotkey: string, result = HONEST): ReplayRow =>
  replay(ordinal, {
    judge: hotkey === 'reference' ? 'trusted' : 'peer',
    routing: hotkey === 'reference' ? { onlyHotkey: hotkey } : {},
    state: 'succeeded',
    done: { hotkey, operator: hotkey, attemptNo: 1, epoch: 1, result },
  });
const lost = (ordinal: number, failedMsAgo: number): ReplayRow => replay(ordinal, { state: 'failed', failedMsAgo });

const next = (audit: AuditCase, replayers: readonly Replayer[]): Step => nextStep(audit, replayers, exact);
const last = (audit: AuditCase): ReturnType<typeof lastVerdict> => lastVerdict(audit, exact);
const judge = (audit: AuditCase): Judgment => judgmentOf(audit, last(audit), exact);

describe('the next step of an audit', () => {
  it('asks the reference first, an independent peer second, the reference third', () => {
    expect(next(auditOf(), [reference, ...peers])).toMatchObject({ do: 'replay', judge: 'trusted' });
    const second = auditOf({ replays: [done(1, 'reference')], seenBy: ['target', 'house'] });
    expect(next(second, [reference, ...peers])).toEqual({
      do: 'replay',
      judge: 'peer',
      routing: { excludeOperators: ['house', 'target'] },
    });
    const third = auditOf({ replays: [done(1, 'reference'), done(2, 'p1', OTHER)] });
    expect(next(third, [reference, ...peers])).toMatchObject({ do: 'replay', judge: 'trusted' });
  });

  it('never shows an input to an operator twice, nor to the target’s own', () => {
    const audit = auditOf({ seenBy: ['target', 'p1', 'p2'] });
    expect(next(audit, peers)).toMatchObject({ routing: { excludeOperators: ['p1', 'p2', 'target'] } });
    expect(next(auditOf({ seenBy: ['p1', 'p2', 'p3'] }), peers)).toEqual({ do: 'wait', forMs: 5_000 });
  });

  it('takes turns between several references', () => {
    const second: Replayer = { ...reference, hotkey: 'another-reference' };
    const audit = auditOf({ replays: [done(1, 'reference')], seenBy: [] });
    expect(next(audit, [reference, second])).toMatchObject({ routing: { onlyHotkey: 'another-reference' } });
  });

  it('waits while a replay is under way, and longer after each one that was lost', () => {
    expect(next(auditOf({ replays: [replay(1, {})] }), [reference])).toEqual({ do: 'wait' });
    expect(next(auditOf({ replays: [lost(1, 400)] }), [reference])).toEqual({ do: 'wait', forMs: 600 });
    expect(next(auditOf({ replays: [lost(1, 9_000), lost(2, 500)] }), [reference])).toEqual({
      do: 'wait',
      forMs: 1_500,
    });
    expect(next(auditOf({ replays: [lost(1, 1_000)] }), [reference])).toMatchObject({ do: 'replay' });
    const eight = Array.from({ length: 8 }, (_, n) => lost(n + 1, 100_000));
    expect(next(auditOf({ replays: eight }), [reference])).toMatchObject({ verdict: { outcome: 'inconclusive' } });
  });

  it('gives up on an audit that nobody can replay only when its epoch closes', () => {
    expect(next(auditOf(), [])).toEqual({ do: 'wait', forMs: 5_000 });
    expect(next(auditOf({ closing: true }), [])).toMatchObject({ verdict: { outcome: 'inconclusive' } });
  });

  it('shows the input of a private job to references only', () => {
    const audit = auditOf({ private: true });
    expect(next(audit, peers)).toEqual({ do: 'wait', forMs: 5_000 });
    const disputed = auditOf({ private: true, replays: [done(1, 'reference')] });
    expect(next(disputed, [reference, ...peers])).toMatchObject({ do: 'replay', judge: 'trusted' });
    expect(next(auditOf({ private: true, closing: true }), peers)).toMatchObject({
      verdict: { outcome: 'inconclusive' },
    });
  });

  it('ends as inconclusive where results cannot be compared', () => {
    const step = nextStep(auditOf(), [reference, ...peers], undefined);
    expect(step).toMatchObject({ do: 'conclude', verdict: { outcome: 'inconclusive' } });
  });

  it('convicts on peers alone only when three agree against the target', () => {
    const two = auditOf({ replays: [done(1, 'p1'), done(2, 'p2')], seenBy: ['p1', 'p2'] });
    expect(next(two, peers)).toMatchObject({ do: 'replay', judge: 'peer' });
    expect(last(two)).toMatchObject({ outcome: 'inconclusive' });
    const three = auditOf({ replays: [done(1, 'p1'), done(2, 'p2'), done(3, 'p3')] });
    expect(next(three, peers)).toMatchObject({ verdict: { outcome: 'invalid' } });
    expect(judge(three).evidence.kappa).toBe(DEMO_POLICY.audit.kappaQuorum);
  });
});

describe('a judgment', () => {
  it('names what differs, from whose, and who confirmed it', () => {
    const audit = auditOf({ replays: [done(1, 'reference'), done(2, 'p1')] });
    const { reason, evidence, replicas } = judge(audit);
    expect(reason).toBe(
      "image differs from the reference's: pixel hash bbbbbbbb… against aaaaaaaa… (confirmed by an independent miner)",
    );
    expect(evidence.draw).toEqual({ why: 'draw', q: 0.1, u: '5', epoch: 1, policyVersion: DEMO_POLICY.version });
    expect(replicas).toEqual([]);
  });

  it('finds a replica guilty that lied in favour of the target, and one that lied otherwise', () => {
    for (const lie of [CHEAT, OTHER]) {
      const audit = auditOf({ replays: [done(1, 'reference'), done(2, 'p1', lie), done(3, 'reference')] });
      const { outcome, replicas } = judge(audit);
      expect(outcome).toBe('invalid');
      expect(replicas.map(({ target, outcome: fate }) => [target.hotkey, fate])).toEqual([['p1', 'invalid']]);
    }
  });

  it('finds a lone peer guilty that all others, the target included, speak against', () => {
    const audit = auditOf({ result: HONEST, replays: [done(1, 'p1', CHEAT), done(2, 'p2'), done(3, 'p3')] });
    const { outcome, replicas } = judge(audit);
    expect(outcome).toBe('inconclusive');
    expect(replicas.map(({ target }) => target.hotkey)).toEqual(['p1']);
  });

  it('holds nobody to a case in which the replays disagree', () => {
    const audit = auditOf({
      replays: [done(1, 'p1'), done(2, 'p2', OTHER), done(3, 'p3', imageResult('d'.repeat(64)))],
    });
    const { outcome, replicas } = judge(audit);
    expect([outcome, replicas]).toEqual(['inconclusive', []]);
  });
});
