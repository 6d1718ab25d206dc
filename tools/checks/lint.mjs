/** ESLint over the tree. Its Nx rule reads the project graph from a cache and skips itself when there is none: make it first. */
import { spawnSync } from 'node:child_process';
import { root } from './repository.mjs';

const steps = [
  { script: 'node_modules/nx/dist/bin/nx.js', args: ['graph', '--file=.nx/graph.json'], quiet: true },
  { script: 'node_modules/eslint/bin/eslint.js', args: ['.', '--max-warnings=0'], quiet: false },
];

for (const { script, args, quiet } of steps) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: root,
    encoding: 'utf8',
    stdio: quiet ? 'pipe' : 'inherit',
  });
  if (status === 0) continue;
  if (quiet) process.stderr.write(stdout + stderr);
  process.exitCode = 1;
  break;
}
