/** `npm run scores:keys -- DIR`: what an operator needs to run the NATS of validators. See `--help`. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { openScoresAccount, scoresAccountFiles } from './servers/scores-account';

async function main(): Promise<void> {
  const { args } = new Command('npm run scores:keys --')
    .description('Makes the account SCORES of NATS with its keys, once. Files that are there are left as they are.')
    .argument('<dir>', 'where the files go; only its owner can read them')
    .allowExcessArguments(false)
    .parse();
  const dir = resolve(args[0] ?? '');
  const isThere = existsSync(scoresAccountFiles(dir).serverConfig);
  const files = await openScoresAccount(dir);
  process.stdout.write(
    [
      isThere ? `${dir} has an account already, which is left as it is:` : `a new account in ${dir}:`,
      '',
      `nats-server             include accounts.conf in a configuration beside ${files.serverConfig}, with jetstream and tls`,
      `SCORES_NATS_CREDS       ${files.registryCreds}   the registry's`,
      `SCORES_NATS_SIGNING_KEY ${files.signingKey}   the registry's: makes listeners, and nothing else`,
      `keep where no process reads them: ${files.accountSeed}, ${files.operatorSeed}`,
      '',
    ].join('\n'),
  );
}

main().catch((error: Error) => {
  process.stderr.write(`the account was not made: ${error.message}\n`);
  process.exitCode = 1;
});
