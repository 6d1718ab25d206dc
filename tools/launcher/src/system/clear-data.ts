import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { killOrphan } from '../servers/server-record';
import { removeData } from '../servers/unprivileged-user';

const SERVER_DIRS = ['postgres', 'nats', 'scores', 'redis'];

/** Removes everything of earlier runs from `dataDir`, servers left over from a killed one included. */
export async function clearData(dataDir: string, say: (line: string) => void): Promise<void> {
  if (!existsSync(dataDir)) return;
  say(`clearing ${dataDir}`);
  for (const name of SERVER_DIRS) killOrphan(join(dataDir, name));
  removeData(join(dataDir, 'postgres', 'cluster'));
  for (const entry of readdirSync(dataDir)) {
    if (entry !== 'launcher.pid') rmSync(join(dataDir, entry), { recursive: true, force: true });
  }
}
