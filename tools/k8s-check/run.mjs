/** `npm run k8s:check`: renders every overlay and holds it to the rules. The rules are TypeScript and read the services' own. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../checks/repository.mjs';

const { status } = spawnSync(
  process.execPath,
  [
    '--conditions=studio-src',
    '--require',
    join(root, 'libs/shared/src/testing/typescript-threads.cjs'),
    join(root, 'tools/k8s-check/main.ts'),
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
