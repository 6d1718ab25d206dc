/**
 * `npm run check`: every check, one line each, all of them even when one fails.
 * `npm run check -- lint layout` runs only those named.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './repository.mjs';

const SOURCES = ['libs', 'engines', 'services', 'clients', 'apps', 'tools', 'bench', 'simulations', 'e2e', 'chaos'];
const TSC = 'node_modules/typescript/bin/tsc';

/** Longest first: `CONCURRENCY` run at a time. */
const CHECKS = [
  { name: 'lint', script: 'tools/checks/lint.mjs' },
  { name: 'types', script: TSC, args: ['-p', 'tsconfig.json', '--noEmit', '--pretty', 'false'] },
  {
    name: 'imports',
    script: 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
    args: ['--output-type', 'err-long', ...SOURCES.filter((folder) => existsSync(join(root, folder)))],
  },
  { name: 'format', script: 'node_modules/prettier/bin/prettier.cjs', args: ['--check', '--log-level', 'warn', '.'] },
  { name: 'lock', script: 'tools/checks/lock.mjs' },
  // Compiled without ambient types: a clock, a process or a Buffer in the domain does not exist.
  { name: 'domain-types', script: TSC, args: ['-p', 'libs/shared/src/domain', '--noEmit', '--pretty', 'false'] },
  { name: 'layout', script: 'tools/checks/layout.mjs' },
  { name: 'documents', script: 'tools/checks/documents.mjs' },
  { name: 'error-codes', script: 'tools/checks/error-codes.mjs' },
  { name: 'k8s', script: 'tools/k8s-check/run.mjs' },
  { name: 'subjects', script: 'tools/checks/subjects.mjs' },
];

/** The smallest machine we promise has two cores, and the two longest checks take one and about 1 GB each. */
const CONCURRENCY = 2;

/** @returns {Promise<boolean>} whether the check passed */
async function run({ name, script, args = [] }) {
  const started = performance.now();
  const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const passed = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code === 0));
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(5);
  console.log(`${passed ? 'ok  ' : 'FAIL'}  ${name.padEnd(12)} ${seconds} s`);
  if (!passed) console.log(output.trimEnd().replace(/^/gm, '      '));
  return passed;
}

async function runAll(checks) {
  const waiting = [...checks];
  const failed = [];
  const lane = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      if (!(await run(check))) failed.push(check.name);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return failed;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`No such check: ${unknown.join(', ')}. There are: ${CHECKS.map(({ name }) => name).join(', ')}.`);
  process.exit(64);
}

const checks = wanted.length === 0 ? CHECKS : CHECKS.filter(({ name }) => wanted.includes(name));
const failed = await runAll(checks);
console.log(failed.length === 0 ? `All ${checks.length} checks passed.` : `Failed: ${failed.join(', ')}.`);
process.exitCode = failed.length === 0 ? 0 : 1;
