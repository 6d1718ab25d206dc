/** `node dist/create-key.js --name demo [--client-id uuid]`: prints a new API key, once. */
import { createDataSource } from '@studio/shared/database/data-source';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { Command } from 'commander';
import { validate as isUuid } from 'uuid';
import { ClientKeyStore } from './client-key.store';
import { DatabaseEnv } from './env';

async function main(): Promise<void> {
  const command = new Command('create-key')
    .requiredOption('--name <name>', 'what the key is for, shown in lists')
    .option('--client-id <uuid>', 'the client that owns it; a new one where not given')
    .parse();
  const { name, clientId } = command.opts<{ name: string; clientId?: string }>();
  if (clientId !== undefined && !isUuid(clientId)) command.error('--client-id has to be a UUID');
  const env = loadEnvOrExit(DatabaseEnv);
  const db = await createDataSource({ url: env.POSTGRES_URL, name: 'create-key', poolSize: 1 }).initialize();
  try {
    const created = await new ClientKeyStore(db).create(name, clientId);
    process.stdout.write(`${created.key}\n`);
  } finally {
    await db.destroy();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`the key was not created: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
