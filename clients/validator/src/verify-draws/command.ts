import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { join } from 'node:path';
import { Commitments } from '../commitments';
import { localRegistry } from './local-registry';
import { tableOf } from './print-report';
import { Unreadable } from './unreadable';
import { verifyEpoch, type KnownCommitment } from './verify-epoch';

interface Options {
  epoch?: number;
  registry?: string;
  file?: string;
  commitment?: string;
  stateDir: string[];
  dataDir: string;
  json: boolean;
}

/** Results to one side, where a script reads them; remarks to the other. */
export interface Output {
  print: (text: string) => void;
  tell: (text: string) => void;
}

const EXIT_WRONG = 1;
const EXIT_UNREADABLE = 2;

/** @param argv what follows the program's name. @returns the exit status. */
export async function verifyDrawsCommand(argv: readonly string[], output: Output): Promise<number> {
  let status = EXIT_UNREADABLE;
  try {
    await program(output, async (options) => {
      status = (await verify(options, output)) ? 0 : EXIT_WRONG;
    }).parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has said it.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_UNREADABLE;
    output.tell(error instanceof Unreadable ? error.message : String((error as Error).stack));
    return EXIT_UNREADABLE;
  }
}

function program({ print, tell }: Output, act: (options: Options) => Promise<void>): Command {
  return new Command('npm run verify:draws --')
    .description('Decides every draw of a closed epoch again, from what the registry publishes.')
    .addOption(new Option('--epoch <n>', 'a closed epoch, or latest').argParser(epochNumber))
    .addOption(new Option('--registry <url>', 'HTTP of the registry').env('REGISTRY_URL').argParser(httpUrl))
    .option('--file <file>', 'an export that was saved, instead of reading it from the registry')
    .addOption(new Option('--commitment <hex>', 'what was published when the epoch opened').argParser(hash))
    .option('--state-dir <dirs...>', 'where validators keep what they saw', ['.validator'])
    .option(
      '--data-dir <dir>',
      'where `npm start` keeps its data: its registry is asked unless another is given',
      '.data',
    )
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', '\nExit status: 0 everything is right, 1 something is wrong, 2 it could not be read.')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => print(text.trimEnd()), writeErr: (text) => tell(text.trimEnd()) })
    .action(act);
}

/** @returns whether everything is right. */
async function verify(options: Options, { print, tell }: Output): Promise<boolean> {
  const { epoch, file, dataDir, json } = options;
  const local = options.registry === undefined && file === undefined ? await localRegistry(dataDir) : undefined;
  if (local !== undefined) tell(`reading from ${local}, the registry of ${dataDir}`);
  const registryUrl = options.registry ?? local;
  const report = await verifyEpoch({ epoch, registryUrl, file, known: (of) => knownCommitments(of, options, tell) });
  print(json ? JSON.stringify(report) : tableOf(report));
  return report.ok;
}

/** Given by hand, and as validators on this machine kept them while the epoch was open. */
async function knownCommitments(
  epoch: number,
  { commitment: given, stateDir, dataDir }: Options,
  tell: Output['tell'],
): Promise<KnownCommitment[]> {
  const known = given === undefined ? [] : [{ commitment: given, from: '--commitment' }];
  for (const dir of new Set([...stateDir, join(dataDir, 'validator')])) {
    const commitment = (await Commitments.open(dir, tell)).of(epoch);
    if (commitment !== undefined) known.push({ commitment, from: dir });
  }
  return known;
}

function epochNumber(text: string): number | undefined {
  if (text === 'latest') return undefined;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('expected the number of an epoch, or latest.');
  return Number(text);
}

function httpUrl(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new InvalidArgumentError('expected a URL, as http://127.0.0.1:4020.');
  }
  return text;
}

function hash(text: string): string {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) throw new InvalidArgumentError('expected 64 hex digits.');
  return text.toLowerCase();
}
