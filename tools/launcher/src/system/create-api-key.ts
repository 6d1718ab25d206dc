import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inheritedEnv } from '../servers/env';
import type { Installation } from './installation';
import type { Endpoints, Places } from './processes';

/** Creates an API key the way an operator does. The key is shown once, so every run makes its own, for one client. */
export async function createApiKey(places: Places, endpoints: Endpoints, installation: Installation): Promise<string> {
  const script = join(places.root, 'services/querier/dist/access/main.js');
  // What the demo and the benchmark measure is the system, not a limit.
  const limits = ['--per-minute', 'none', '--queued', 'none'];
  const args = [script, 'create', '--name', 'npm start', '--client-id', installation.clientId, ...limits];
  const env = inheritedEnv({ POSTGRES_URL: endpoints.postgres('studio_querier') });
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return stdout.trim();
}
