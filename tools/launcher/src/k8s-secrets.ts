/** `npm run k8s:secrets -- DIR`: every secret of an installation on Kubernetes, as files. See `--help`. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { clusterSecrets, secretsKustomization, type ClusterSecrets } from './cluster-secrets';
import { openScoresAccount, scoresAccountFiles } from './servers/scores-account';

const NAMESPACE = resolve(__dirname, '../../../deploy/k8s/base/namespace.yaml');

interface Options {
  ownerUrlFile?: string;
  redisUrlFile?: string;
}

async function main(): Promise<void> {
  const command = new Command('npm run k8s:secrets --')
    .description(
      'Makes the secrets of an installation on Kubernetes, once, as files with a kustomization.yaml for kubectl apply -k. ' +
        'Files that are there are left as they are.',
    )
    .argument(
      '<dir>',
      'where the files go; only its owner can read them. Keep it: it is the only copy beside the cluster',
    )
    .option(
      '--owner-url-file <file>',
      'URL of an existing database as its owner (default: the Postgres of overlays/dev)',
    )
    .option('--redis-url-file <file>', 'URL of an existing Redis (default: the one of overlays/dev)')
    .allowExcessArguments(false)
    .parse();
  const dir = resolve(command.args[0] ?? '');
  const isThere = existsSync(join(dir, 'kustomization.yaml'));
  if (!isThere) await write(dir, command.opts<Options>());
  process.stdout.write(
    `${isThere ? `${dir} has secrets already, which are left as they are` : `made in ${dir}`}\n\n  kubectl apply -k ${dir}\n\n`,
  );
}

async function write(dir: string, { ownerUrlFile, redisUrlFile }: Options): Promise<void> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await openScoresAccount(join(dir, 'scores-account'));
  const secrets = clusterSecrets({ ownerUrl: contentOf(ownerUrlFile), redisUrl: contentOf(redisUrlFile) });
  for (const [name, text] of filesOf(secrets)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true, mode: 0o700 });
    writeFileSync(join(dir, name), `${text}\n`, { mode: 0o600 });
  }
  copyFileSync(NAMESPACE, join(dir, 'namespace.yaml'));
  // Last: where it is, the others are.
  writeFileSync(join(dir, 'kustomization.yaml'), secretsKustomization(secrets, scoresFiles()), { mode: 0o600 });
}

const filesOf = (secrets: ClusterSecrets): [string, string][] =>
  Object.entries(secrets).flatMap(([secret, files]) =>
    Object.entries(files).map(([key, text]): [string, string] => [`${secret}/${key}`, text]),
  );

/** Of the account that validators listen to: what a process reads. The seeds of operator and account stay in the directory. */
function scoresFiles(): Record<string, string[]> {
  const files = scoresAccountFiles('scores-account');
  return { 'registry-secrets': [files.registryCreds, files.signingKey], 'nats-scores-secrets': [files.serverConfig] };
}

const contentOf = (file: string | undefined): string | undefined => file && readFileSync(file, 'utf8').trim();

main().catch((error: Error) => {
  process.stderr.write(`the secrets were not made: ${error.message}\n`);
  process.exitCode = 1;
});
