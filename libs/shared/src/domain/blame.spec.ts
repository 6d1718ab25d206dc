import { blameOf } from './blame';

describe('blame', () => {
  it.each(['miner', 'ours', 'none'] as const)('leaves the fault %s as it is', (fault) => {
    expect(blameOf(fault, { reached: 3, unreachable: 3 })).toBe(fault);
  });

  it('is the miner’s when its connection fails while other operators answer', () => {
    expect(blameOf('connection', { reached: 1, unreachable: 5 })).toBe('miner');
  });

  it('is ours when several other operators are out of reach and none answers', () => {
    expect(blameOf('connection', { reached: 0, unreachable: 2 })).toBe('ours');
  });

  it.each([0, 1])('is the network’s when nothing tells us apart (%i other out of reach)', (unreachable) => {
    expect(blameOf('connection', { reached: 0, unreachable })).toBe('network');
  });
});
