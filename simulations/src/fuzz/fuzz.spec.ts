import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildProjects } from '@studio/shared/testing/built-projects';
import { figuresOf, findingsOf, limitsOf } from './report';
import type { FuzzReport } from './run';

jest.setTimeout(600_000);

/**
 * A fifth of what `npm run fuzz` feeds, the first of the same: 2,000 to 6,000 of each target, of photographs 400. A check that fails
 * or stands still on one input in a thousand is found in every run, and one that keeps 16 KiB of each reaches the limit; what is
 * rarer is the command's to find.
 */
const INPUTS = 20_000;
const SEED = 1;

describe('tier 1 under files that nobody wrote', () => {
  let folder: string;
  beforeAll(() => {
    folder = buildProjects(['libs/shared', 'engines/ref-sep', 'services/querier', 'simulations']);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** What the command prints; its complaints, where it has some, are the error. */
  function fuzz(...options: string[]): Promise<FuzzReport & { minutes: number; problems: string[] }> {
    const program = join(folder, 'node_modules/@studio/simulations/dist/fuzz/main.js');
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [program, '--json', ...options], { maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
        if (error) reject(new Error(stderr));
        else resolve(JSON.parse(stdout) as FuzzReport & { minutes: number; problems: string[] });
      });
    });
  }

  it('refuses or accepts each of 20,000, and neither fails, nor stands still, nor grows', async () => {
    const report = await fuzz('--inputs', `${INPUTS}`, '--seed', `${SEED}`);
    process.stdout.write(`fuzz: ${figuresOf(report, SEED, report.minutes)}\n`);
    expect(report.problems).toEqual([]);
    expect(report.targets.reduce((sum, { inputs }) => sum + inputs, 0)).toBeGreaterThanOrEqual(INPUTS);
    // Mutations that always end at the first byte would try nothing.
    for (const { accepted, reasons, inputs } of report.targets) {
      expect(accepted).toBeGreaterThan(inputs / 100);
      expect(reasons.length).toBeGreaterThan(5);
    }
  });

  it('is fed the same by the same seed, and other things by another', async () => {
    const [one, again, other] = await Promise.all(
      ['1', '1', '2'].map(async (seed) => {
        const { targets } = await fuzz('--inputs', '500', '--seed', seed);
        return targets.map(({ name, inputs, digest, accepted }) => ({ name, inputs, digest, accepted }));
      }),
    );
    expect(again).toEqual(one);
    one!.forEach(({ digest }, index) => expect(other![index]!.digest).not.toBe(digest));
  });
});

describe('a report', () => {
  const sound: FuzzReport = {
    targets: [],
    findings: [],
    lateP99Ms: 1,
    lateMaxMs: 200,
    rssBeforeMib: 1,
    rssMib: 512,
    cpuS: 1,
  };

  it('complains of a loop that stood still, of memory, and of each finding with the command that shows it again', () => {
    expect(limitsOf(sound)).toEqual([]);
    expect(limitsOf({ ...sound, lateMaxMs: 201 })).toEqual(['the event loop stood still for 201 ms']);
    expect(limitsOf({ ...sound, rssMib: 513 })).toEqual(['the process took 513 MiB']);
    const findings = [{ target: 'LoRA uploads', input: 7, message: 'no' }];
    expect(findingsOf({ ...sound, findings }, 3)).toEqual([
      'no\n  again with: npm run fuzz -- --seed 3 --only "LoRA uploads:7"',
    ]);
  });
});
