/** `npm run keys`: API keys, from a shell with the querier's POSTGRES_URL. See `--help`. */
import 'reflect-metadata';
import { createDataSource } from '@studio/shared/database/data-source';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { ClientKeyStore } from '../client-key.store';
import { DatabaseEnv } from '../env';
import { keysCommand, type KeyWork } from './keys-command';

const to = (stream: NodeJS.WriteStream) => (text: string) => void stream.write(`${text}\n`);

/** After the command line is understood: `--help` needs no database. */
async function withStore(work: KeyWork): Promise<void> {
  const { POSTGRES_URL: url } = loadEnvOrExit(DatabaseEnv);
  const db = await createDataSource({ url, name: 'keys', poolSize: 1 }).initialize();
  try {
    await work(new ClientKeyStore(db));
  } finally {
    await db.destroy();
  }
}

void keysCommand(process.argv.slice(2), withStore, { print: to(process.stdout), tell: to(process.stderr) }).then(
  (status) => (process.exitCode = status),
);
