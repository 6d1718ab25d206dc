/**
 * `npm test`. With arguments it is Jest with these arguments. Without, it is every test, three files at a time, and then once
 * more, one file after the other, what failed among them: many tests here watch whole systems against the clock, and on two
 * busy cores one of thousands may see a lease end or a hedge begin because of its neighbours. What fails alone as well has
 * failed; what passes alone is named at the end, so that a test that needs it again and again is seen and mended.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, '.cache');

/** More than neighbours can be blamed for: so much at once is broken, and a second run would only take time. */
const BLAMED_ON_NEIGHBOURS = 6;

/** The last line of a run, for those who look at nothing else. */
const RESULT = join(cache, 'test-result.txt');

function jest(args) {
  const child = spawn(process.execPath, [join(root, 'node_modules/.bin/jest'), ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.once(signal, () => child.kill(signal));
  return new Promise((done) => child.once('exit', (code) => done(code ?? 1)));
}

/** One run with a report. @returns its exit status and, unless it never got so far, what Jest wrote of each file. */
async function reported(name, args) {
  const path = join(cache, `${name}.json`);
  rmSync(path, { force: true });
  const status = await jest([...args, '--json', `--outputFile=${path}`]);
  try {
    return { status, files: JSON.parse(readFileSync(path, 'utf8')).testResults };
  } catch {
    return { status, files: undefined };
  }
}

/**
 * @param first, second what Jest says of each file: `{name, status, message, assertionResults: [{status}]}`; `second` holds
 *   the files of `first` that were run again.
 * @returns the counts of both together, each file as it was seen last. A file that could not run has no tests to count and
 *   is one failure.
 */
function together(first, second) {
  const last = new Map([...first, ...second].map((file) => [file.name, file]));
  const count = (files, status) =>
    files.flatMap((file) => file.assertionResults).filter((each) => each.status === status);
  const files = [...last.values()];
  const unable = files.filter((file) => file.status === 'failed' && count([file], 'failed').length === 0);
  const failedFirst = first.filter(({ status }) => status === 'failed').map(({ name }) => name);
  return {
    passed: count(files, 'passed').length,
    failed: count(files, 'failed').length + unable.length,
    onlyAlone: second
      .filter((file) => file.status === 'passed' && failedFirst.includes(file.name))
      .map(({ name }) => name),
  };
}

async function everything() {
  mkdirSync(cache, { recursive: true });
  rmSync(RESULT, { force: true });
  const first = await reported('jest-results', []);
  if (!first.files) return first.status || 1;
  const failed = first.files.filter(({ status }) => status === 'failed').map(({ name }) => name);
  const again = failed.length > 0 && failed.length <= BLAMED_ON_NEIGHBOURS;
  const say = (line) => process.stderr.write(`${line}\n`);
  if (again) say(`\n${failed.length} of ${first.files.length} files failed beside others; once more, each alone:`);
  const second = again ? await reported('jest-results-alone', ['--runInBand', '--runTestsByPath', ...failed]) : first;
  const { passed, failed: left, onlyAlone } = together(first.files, again ? (second.files ?? []) : []);
  for (const name of onlyAlone) say(`passed only alone: ${relative(root, name)}`);
  const line = `${passed} passed, ${left} failed`;
  writeFileSync(RESULT, `${line}\n`);
  say(line);
  return again ? second.status : first.status;
}

const args = process.argv.slice(2);
process.exitCode = args.length > 0 ? await jest(args) : await everything();
