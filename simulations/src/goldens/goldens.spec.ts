import { Readable } from 'node:stream';
import { compareWeights } from './compare-weights';
import { expDigest } from './exp-digest';

/** Of x64 and of arm64 (Node 20.19 under qemu): a machine that gives another would give other weights. */
const EXP_DIGEST = '2a3fd60c7c0f884f807aa3a47038914befd4ce389b4a9977ecf5e9618bb02e14';

const bits = (share: number): string => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, share);
  return view.getBigUint64(0).toString(16).padStart(16, '0');
};

const comparing = (...lines: string[]): ReturnType<typeof compareWeights> =>
  compareWeights(Readable.from([lines.join('\n')]), () => undefined);

describe('goldens', () => {
  it('eˣ has the same bits on every machine', () => {
    expect(expDigest(1_000_000)).toBe(EXP_DIGEST);
  });

  it('weights of another implementation are read and compared', async () => {
    const shares = [0.5, 0, 0.25].map(bits).join(' ');
    // Half of 65535 is a half, which goes to the even neighbour.
    expect(await comparing(`${shares} |0:65535 2:32768`, '|')).toEqual({ vectors: 2, mismatches: [] });
    expect(await comparing(`${shares} |0:65535 2:32767`)).toEqual({
      vectors: 1,
      mismatches: ['vector 1: theirs 0:65535 2:32767, ours 0:65535 2:32768, of 0.5 0 0.25'],
    });
    await expect(comparing('0.5 | 0:65535')).rejects.toThrow('line 1 is no vector: 0.5 | 0:65535');
  });
});
