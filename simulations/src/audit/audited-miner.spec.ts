import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { Chance } from '../chance';
import { AuditedMiner, epochTime, type Rules, type Settlement } from './audited-miner';
import { careful } from './careful';
import { RULES } from './rules';

const { quarantineEpochs, finalityEpochs, audit } = DEFAULT_POLICY;

/** A miner with a known draw for each job, in the order in which they are filed: whether, at q = 0.1 in place of the policy's. */
function minerWith(drawn: boolean[], changes: Partial<Rules> = {}): { miner: AuditedMiner; news: Settlement[] } {
  const news: Settlement[] = [];
  const draws = (): ReturnType<Rules['draws']> => ({ q: 0.1, u: BigInt(drawn.length), drawn: drawn.shift() ?? false });
  const miner = new AuditedMiner('miner', { ...RULES, draws, ...changes }, new Chance(1), (one) => news.push(one));
  return { miner, news };
}

const file = (miner: AuditedMiner, epoch: number, through: number, result: 'right' | 'wrong' = 'right'): void =>
  miner.file(result, epochTime(epoch, through, DEFAULT_POLICY), epoch);
const close = (miner: AuditedMiner, epoch: number): void => miner.close(epoch, epochTime(epoch, 1, DEFAULT_POLICY));
/** Long after the close: whatever had to be decided for it has been. */
const later = (miner: AuditedMiner, epoch: number): void => miner.advance(epochTime(epoch + 1, 0.5, DEFAULT_POLICY));

describe('the simulated auditor', () => {
  it('awards at once, and takes a failure with its thirty nearest unaudited neighbours when the epoch is settled', () => {
    const { miner, news } = minerWith([...Array<boolean>(20).fill(false), true, ...Array<boolean>(19).fill(false)]);
    for (let i = 0; i < 40; i += 1) file(miner, 1, i / 40, i === 20 ? 'wrong' : 'right');
    later(miner, 0);
    expect(miner.kept).toBe(40);
    close(miner, 1);
    later(miner, 1);
    expect(news).toMatchObject([{ epoch: 1, convictions: 1, reversed: 31, exposed: 7 }]);
    expect(miner.kept).toBe(9);
  });

  it('audits the jobs of lowest u where the draw falls short of the floor', () => {
    const { miner, news } = minerWith([]);
    for (let i = 0; i < 10; i += 1) file(miner, 1, i / 10);
    close(miner, 1);
    later(miner, 1);
    expect(miner.record.audits).toBe(audit.floorPerEpoch);
    expect(news).toMatchObject([{ exposed: 10 - audit.floorPerEpoch }]);
  });

  it('puts a miner out for twenty epochs at the third failure, and takes all that is not final', () => {
    const { miner, news } = minerWith(Array<boolean>(40).fill(true));
    for (let epoch = 1; epoch <= 3; epoch += 1) {
      for (let i = 0; i < 5; i += 1) file(miner, epoch, i / 10);
      close(miner, epoch);
    }
    for (let i = 0; i < 3; i += 1) file(miner, 4, i / 10, 'wrong');
    miner.advance(epochTime(4, 0.9, DEFAULT_POLICY));
    expect([3, 4, 3 + quarantineEpochs, 4 + quarantineEpochs].map((epoch) => miner.isOut(epoch))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    close(miner, 4);
    later(miner, 4);
    // The first epoch's awards were final.
    expect(news.at(-1)).toMatchObject({ epoch: 4, reversed: 5 * finalityEpochs + 3 });
    expect(miner.kept).toBe(5);
  });

  it('leaves a verdict undecided that comes later than the close may wait', () => {
    const { miner } = minerWith([true], { replayMs: DEFAULT_POLICY.closeBoundMs });
    file(miner, 1, 0.999, 'wrong');
    close(miner, 1);
    later(miner, 1);
    expect([miner.record.audits, miner.kept]).toEqual([0, 1]);
  });
});

describe('a careful cheater', () => {
  const sight = { job: 1, through: 0.5, epoch: 3, live: { jobsSeen: 0, audits: 0, passes: 0, cusum: 0 } };
  const settled = { epoch: 2, convictions: 1, reversed: 31, exposed: 0 };

  it('works through probation and through every job on which it must be suspected', () => {
    const player = careful({ rate: 1 }).player();
    const moves = (count: number): string[] =>
      Array.from({ length: count }, (_, i) => player.move({ ...sight, done: 100 + i }, new Chance(1)));
    expect(player.move({ ...sight, done: 19 }, new Chance(1))).toBe('work');
    expect(moves(1)).toEqual(['cheat']);
    player.settled?.({ ...settled, record: { jobsSeen: 101, audits: 30, passes: 29, cusum: 3.912 } });
    // 3.912 / 0.0503 = 77.8 passes, and five verdicts that may be under way.
    expect(moves(84).indexOf('cheat')).toBe(83);
  });
});
