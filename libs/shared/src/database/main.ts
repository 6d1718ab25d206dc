/**
 * `node dist/database/main.js migrate`: brings the schema and its privileges up to date. `wait`: ends when that is done.
 */
import 'reflect-metadata';
import { loadEnvOrExit } from '../platform/env';
import { redactText } from '../platform/redact';
import { connectDataSource } from './data-source';
import { DatabaseEnv, MigrateEnv } from './env';
import { migrate } from './migrate';
import { passwordsOf } from './role-passwords';
import { waitForSchema } from './schema-wait';

const EX_USAGE = 64;
const say = (line: string): void => void process.stderr.write(`${redactText(line)}\n`);

let said = '';
/** It waits for a database that is not there yet, and says why where that changes. */
function sayOnce({ message }: Error): void {
  if (message !== said) say(`waiting for the database: ${message}`);
  said = message;
}

async function main(command: string | undefined): Promise<void> {
  switch (command) {
    case 'migrate': {
      const env = loadEnvOrExit(MigrateEnv);
      await connectDataSource({ url: env.POSTGRES_URL, name: 'migrate', poolSize: 1, onError: sayOnce }).then(
        (source) => source.destroy(),
      );
      await migrate(env.POSTGRES_URL, passwordsOf(env));
      return say('the schema is up to date');
    }
    case 'wait':
      await waitForSchema(loadEnvOrExit(DatabaseEnv).POSTGRES_URL, (why) => say(`waiting for the schema: ${why}`));
      return say('the schema is there');
    default:
      say(`unknown command "${command ?? ''}": migrate or wait`);
      process.exitCode = EX_USAGE;
  }
}

main(process.argv[2]).catch((error: unknown) => {
  say(`not migrated: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
