import { join } from 'node:path';
import { readFileIfAny } from '../durable-file';

/** What `npm start` notes in its data directory. */
const INSTALLATION = 'installation.json';

/** The registry of the system that `npm start` runs on this machine; undefined where it has never run. */
export async function localRegistry(dataDir: string): Promise<string | undefined> {
  const text = await readFileIfAny(join(dataDir, INSTALLATION));
  if (text === null) return undefined;
  try {
    const { ports } = JSON.parse(text) as { ports?: { registry?: unknown } };
    return typeof ports?.registry === 'number' ? `http://127.0.0.1:${ports.registry}` : undefined;
  } catch {
    // Damaged: the launcher says so when it is started.
    return undefined;
  }
}
