import { join } from 'node:path';
import { Piscina } from 'piscina';
import { isBlank, isOverdriven, type Flatness } from '@studio/querier/checks/blank';
import { threadFlags } from '@studio/shared/platform/thread-flags';
import type { Asked, Rendering } from './honest-renderings';

jest.setTimeout(300_000);

const ASKED: Asked = {
  steps: [1, 150],
  ranks: [8],
  scales: [0, 0.5, 1, 2],
  sizes: [[64, 64], [16, 16]], // prettier-ignore
  warps: [0, 1],
  seeds: 3,
};

describe('an honest rendering', () => {
  const threads = new Piscina({
    filename: join(__dirname, 'honest-renderings.ts'),
    name: 'honestRenderings',
    execArgv: threadFlags(__filename),
    maxThreads: 1,
  });
  afterAll(() => threads.close());

  it('is never refused as blank, whatever was trained and asked for', async () => {
    const all = (await threads.run(ASKED)) as Rendering[];
    const of = (scale: number): Rendering[] => all.filter((rendering) => rendering.scale === scale);
    for (const scale of ASKED.scales) process.stdout.write(`LoRA scale ${scale}: ${distribution(of(scale))}\n`);
    expect(all.length).toBeGreaterThan(1_000);
    expect(all.filter((rendering) => isBlank(rendering, isOverdriven('ref-sep-v1', rendering.scale)))).toEqual([]);
    // The exception for scales beyond 1 is needed.
    expect(of(2).some((rendering) => isBlank(rendering, false))).toBe(true);
  });
});

function distribution(all: readonly Flatness[]): string {
  const at = (values: number[], share: number): number =>
    values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))]!;
  const variances = [0, 0.01, 0.1, 0.5].map((share) => at(all.map(({ variance }) => variance), share).toFixed(1)); // prettier-ignore
  const shares = [0.5, 0.9, 0.99, 1].map((share) => at(all.map(({ commonShare }) => commonShare), share).toFixed(3)); // prettier-ignore
  return (
    `${all.length} renderings; variance ${variances.join(', ')} (least, 1 %, 10 %, half); ` +
    `of one colour ${shares.join(', ')} (half, 90 %, 99 %, most)`
  );
}
