import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processIdentity } from '../servers/process-identity';

interface Claim {
  pid: number;
  identity: string | null;
}

/**
 * Makes this process the only launcher of `dataDir`; returns the release. A claim left by a killed launcher is taken
 * over. @throws Error naming the other launcher and the remedy.
 */
export function claimDataDir(dataDir: string): () => void {
  mkdirSync(dataDir, { recursive: true });
  const path = join(dataDir, 'launcher.pid');
  const own: Claim = { pid: process.pid, identity: processIdentity(process.pid) };
  for (;;) {
    try {
      writeFileSync(path, JSON.stringify(own), { flag: 'wx' });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const other = readClaim(path);
      if (other && other.identity !== null && processIdentity(other.pid) === other.identity) {
        throw new Error(
          `npm start already runs on ${dataDir} (process ${other.pid}): end it with Ctrl-C, or use --data-dir with another directory`,
        );
      }
      rmSync(path, { force: true });
    }
  }
}

function readClaim(path: string): Claim | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Claim;
  } catch {
    return null; // half-written by a launcher that was killed
  }
}
