/** `npm test` itself, on a folder of three tests: one that holds, one that does not like its neighbours, one that is broken. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOUND = `it('holds', () => undefined);`;
const BROKEN = `it('never holds', () => { throw new Error('broken'); });`;
/** As under load: fails at its first run, holds at its second. */
const SHY = `const { existsSync, writeFileSync } = require('node:fs');
  it('holds alone', () => { if (!existsSync('seen')) { writeFileSync('seen', ''); throw new Error('too slow'); } });`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'npm-test-'));
  mkdirSync(join(folder, 'tools'));
  copyFileSync(join(__dirname, 'test.mjs'), join(folder, 'tools/test.mjs'));
  symlinkSync(join(__dirname, '../node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{}');
  writeFileSync(join(folder, 'jest.config.cjs'), `module.exports = { testMatch: ['**/*.spec.js'], transform: {} };`);
});
afterEach(() => rmSync(folder, { recursive: true }));

function npmTest(tests: Record<string, string>, ...args: string[]): Promise<{ status: number; said: string }> {
  for (const [name, text] of Object.entries(tests)) writeFileSync(join(folder, `${name}.spec.js`), text);
  return new Promise((resolve) => {
    execFile(process.execPath, [join(folder, 'tools/test.mjs'), ...args], { cwd: folder }, (error, _, said) => {
      resolve({ status: error ? Number(error.code) : 0, said });
    });
  });
}
const lastLine = (): string => readFileSync(join(folder, '.cache/test-result.txt'), 'utf8');

it('passes when every test does', async () => {
  const { status, said } = await npmTest({ sound: SOUND });
  expect([status, lastLine()]).toEqual([0, '1 passed, 0 failed\n']);
  expect(said).not.toContain('alone');
});

it('runs once more alone what failed beside others, and names what passes only so', async () => {
  const { status, said } = await npmTest({ sound: SOUND, shy: SHY });
  expect([status, lastLine()]).toEqual([0, '2 passed, 0 failed\n']);
  expect(said).toContain('passed only alone: shy.spec.js');
});

it('fails for a test that fails alone too, and for a file that cannot run', async () => {
  const { status } = await npmTest({ sound: SOUND, shy: SHY, broken: BROKEN, unreadable: 'it(' });
  expect([status, lastLine()]).toEqual([1, '2 passed, 2 failed\n']);
});

it('asks no second time where so much fails that neighbours are not the reason', async () => {
  const { status, said } = await npmTest(
    Object.fromEntries(Array.from({ length: 7 }, (_, n) => [`broken-${n}`, BROKEN])),
  );
  expect([status, lastLine()]).toEqual([1, '0 passed, 7 failed\n']);
  expect(said).not.toContain('alone');
});

it('is Jest alone when it is told which tests', async () => {
  const { status, said } = await npmTest({ shy: SHY, sound: SOUND }, 'shy');
  expect(status).toBe(1);
  expect(said).toContain('1 failed, 1 total');
});
