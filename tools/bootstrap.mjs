/**
 * What `npm start`, `npm test`, `npm run check` and the other scripts of package.json call. Runs before anything is installed, so it
 * imports nothing but Node: checks the Node version, installs exactly the lock file, builds where the command needs
 * it, and hands over. Progress goes to stderr: stdout belongs to the command (`--json`).
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Logs and locks of this checkout: never STUDIO_CACHE_DIR, which several checkouts may share. */
const cache = join(root, '.cache');

/** What each command needs and runs. `module` runs in this very process, so that signals reach it directly. */
const COMMANDS = {
  start: { build: true, module: 'tools/launcher/dist/main.js' },
  miner: { build: true, module: 'clients/miner/dist/main.js' },
  validator: { build: true, module: 'clients/validator/dist/main.js' },
  'verify:draws': { build: true, module: 'clients/validator/dist/verify-draws/main.js' },
  'verify:scores': { build: true, module: 'clients/validator/dist/verify-scores/main.js' },
  'verify:receipt': { build: true, module: 'clients/cli/dist/verify-receipt/main.js' },
  keys: { build: true, module: 'services/querier/dist/access/main.js' },
  bench: { build: true, module: 'bench/dist/main.js' },
  'simulate:routing': { build: true, module: 'simulations/dist/routing/main.js' },
  'simulate:audit': { build: true, module: 'simulations/dist/audit/main.js' },
  'scores:keys': { build: true, module: 'tools/launcher/dist/scores-keys.js' },
  'k8s:secrets': { build: true, module: 'tools/launcher/dist/k8s-secrets.js' },
  'k8s:check': { build: false, script: 'tools/k8s-check/run.mjs' },
  goldens: { build: true, module: 'simulations/dist/goldens/main.js' },
  fuzz: { build: true, module: 'simulations/dist/fuzz/main.js' },
  calibrate: { build: true, module: 'services/auditor/dist/calibrate/main.js' },
  test: { build: false, script: 'tools/test.mjs' },
  check: { build: false, script: 'tools/checks/run.mjs' },
  'drill:restore': { build: false, script: 'tools/drill-restore.mjs' },
};

/** What package.json's `engines` states, which npm only warns about. */
const NODE_FLOOR = [20, 20];

const say = (line) => process.stderr.write(`${line}\n`);

class Refusal extends Error {}

async function main([name, ...args]) {
  requireNode();
  const command = COMMANDS[name];
  if (!command) throw new Refusal(`unknown command "${name ?? ''}": use one of ${Object.keys(COMMANDS).join(', ')}`);
  quietTools();
  await install();
  if (command.build) await build();
  const target = join(root, command.module ?? command.script);
  if (!existsSync(target)) throw new Refusal(`${name}: ${target} does not exist`);
  if (command.script) return run(process.execPath, [target, ...args], 'inherit');
  // The program sees the command line it would have as a program of its own.
  process.argv = [process.argv[0], target, ...args];
  await import(pathToFileURL(target).href);
  return undefined;
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [needMajor, needMinor] = NODE_FLOOR;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  throw new Refusal(
    `Node ${needMajor}.${needMinor} or newer is needed, this is ${process.versions.node}: ` +
      'install the current LTS from https://nodejs.org (or: nvm install --lts)',
  );
}

/** Neither telemetry nor advertisements, and no daemon that outlives the command. */
function quietTools() {
  Object.assign(process.env, {
    SCARF_ANALYTICS: 'false',
    NX_DAEMON: 'false',
    NX_NO_CLOUD: 'true',
    NX_TUI: 'false',
    NX_SKIP_NX_CACHE_WARNING: 'true',
    npm_config_update_notifier: 'false',
  });
}

/** Installs unless node_modules is what the lock file says. One process at a time; others wait for it. */
async function install() {
  // While another process installs, npm's record may still be the old one, with the packages half gone.
  if (!existsSync(lockPath('installation')) && installed()) return;
  const release = await takeLock('installation');
  try {
    if (installed()) return; // by the process waited for
    say('installing the exact lock file (about half a minute, once) …');
    await quietly('installation', npm('ci', '--no-audit', '--no-fund', '--loglevel=error'));
  } finally {
    release();
  }
}

/**
 * npm records what it installed in node_modules/.package-lock.json, as its last act: an installation cut short has no
 * such file. Packages for other platforms are optional and absent; all else must be there, in the locked version.
 */
function installed() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const packagesOf = (path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const present = packagesOf(record);
  return Object.entries(packagesOf(join(root, 'package-lock.json'))).every(([path, wanted]) => {
    const found = present[path];
    if (path === '' || (!found && wanted.optional)) return true;
    return found?.version === wanted.version && found?.integrity === wanted.integrity;
  });
}

async function build() {
  const release = await takeLock('build');
  try {
    say('building …');
    await quietly('build', [process.execPath, join(root, 'node_modules/.bin/nx'), 'run-many', '-t', 'build']);
  } finally {
    release();
  }
}

/** npm as the shell has it: `npm_execpath` is the npm that runs us, if one does. */
function npm(...args) {
  const script = process.env.npm_execpath;
  return script?.endsWith('.js') ? [process.execPath, script, ...args] : ['npm', ...args];
}

/** Runs with its output in a log in the cache; shows the log's end and stops when it fails. */
async function quietly(what, [program, ...args]) {
  mkdirSync(cache, { recursive: true });
  const path = join(cache, `${what}.log`);
  const log = openSync(path, 'w');
  const code = await run(program, args, ['ignore', log, log]);
  closeSync(log);
  if (code === 0) return;
  const tail = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-40).join('\n');
  throw new Refusal(`${tail}\n\nthe ${what} failed (status ${code}); its whole output is in ${path}`);
}

/** Exit status of a child. A signal to us is passed on, and the child decides; killed by a signal counts 128 + n. */
function run(program, args, stdio) {
  const child = spawn(program, args, { cwd: root, stdio, env: process.env });
  // Ctrl-C in a terminal reaches the child without us; a second SIGINT would ask it to hurry.
  const pass = (signal) => signal !== 'SIGINT' && child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, pass);
  return new Promise((done, fail) => {
    child.once('error', (error) => fail(new Refusal(`${program} cannot be run (${error.code}): is npm installed?`)));
    child.once('exit', (code, signal) => {
      for (const name of signals) process.off(name, pass);
      done(code ?? 128 + constants.signals[signal]);
    });
  });
}

const lockPath = (what) => join(cache, `${what}.lock`);

/** A lock file with the holder's pid; that of a process that is gone is taken over. Returns its release. */
async function takeLock(what) {
  mkdirSync(cache, { recursive: true });
  const path = lockPath(what);
  for (let told = false; ; await sleep(200)) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = readHolder(path);
    if (holder !== null && !isAlive(holder)) {
      rmSync(path, { force: true });
    } else if (!told) {
      say(`waiting for the ${what} by process ${holder} (if there is no such thing, delete ${path}) …`);
      told = true;
    }
  }
}

/** Null while the holder is about to write its pid or has just let go. */
function readHolder(path) {
  try {
    return Number(readFileSync(path, 'utf8')) || null;
  } catch {
    return null;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM'; // another user's
  }
}

try {
  const code = await main(process.argv.slice(2));
  if (code !== undefined) process.exitCode = code; // a module sets its own
} catch (error) {
  say(error instanceof Refusal ? error.message : error.stack);
  process.exitCode = 1;
}
