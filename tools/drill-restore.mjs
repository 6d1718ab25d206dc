/** `npm run drill:restore`: the restore drill alone, with what it did and how long each step took. */
import { spawnSync } from 'node:child_process';

const args = [
  'node_modules/.bin/jest',
  '--selectProjects',
  'db',
  '--testPathPatterns',
  'e2e/restore',
  '--silent=false',
];
process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
