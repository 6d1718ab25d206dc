import { InvalidArgumentError, Command } from 'commander';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

export interface LauncherOptions {
  /** Do the main job, print the tables and exit: 0 only if every invariant holds. */
  once: boolean;
  /** Print one machine-readable object as the last line of stdout. */
  json: boolean;
  /** Forget the data of earlier runs. */
  fresh: boolean;
  /** The photograph to train on. */
  photo: string;
  dataDir: string;
  outDir: string;
  /** Ports that must be used; others are free ones, kept from run to run where they are still free. */
  apiPort?: number;
  registryPort?: number;
  postgresPort?: number;
  natsPort?: number;
  scoresPort?: number;
  redisPort?: number;
}

/** Reads the command line. Throws commander's errors, whose messages name the option and the remedy. */
export function parseOptions(argv: readonly string[], root: string): LauncherOptions {
  const command = new Command('npm start --')
    .description(
      'Starts the whole system on this machine and does its main job: a photograph becomes a LoRA, the LoRA becomes images.',
    )
    .option('--once', 'exit after the main job; status 0 only if every invariant holds', false)
    .option('--json', 'print one JSON object as the last line', false)
    .option('--fresh', 'clear the data of earlier runs first', false)
    .option('--photo <file>', 'photograph to train on', existingFile, resolve(root, 'photos/chelsea.png'))
    .option(
      '--data-dir <dir>',
      'where the servers keep their data',
      (dir: string) => resolve(dir),
      resolve(root, '.data'),
    )
    .option('--out-dir <dir>', 'where the results go', (dir: string) => resolve(dir), resolve(root, 'out'))
    .option('--api-port <port>', 'port of the API', port)
    .option('--registry-port <port>', 'port of the registry', port)
    .option('--postgres-port <port>', 'port of Postgres', port)
    .option('--nats-port <port>', 'port of NATS', port)
    .option('--scores-port <port>', 'port of the NATS for validators', port)
    .option('--redis-port <port>', 'port of Redis', port)
    .allowExcessArguments(false);
  return command.parse(argv, { from: 'user' }).opts<LauncherOptions>();
}

function port(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 65_535) {
    throw new InvalidArgumentError('A port is a whole number from 1 to 65535.');
  }
  return value;
}

function existingFile(text: string): string {
  const path = resolve(text);
  if (!existsSync(path))
    throw new InvalidArgumentError(`There is no file ${path}; give the path of a PNG, JPEG or WebP.`);
  return path;
}
