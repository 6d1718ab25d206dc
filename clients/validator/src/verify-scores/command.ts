import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { readFile } from 'node:fs/promises';
import type { SignedHead } from '@studio/shared/contract/exports';
import type { Output } from '../verify-draws/command';
import { localRegistry } from '../verify-draws/local-registry';
import { Unreadable } from '../verify-draws/unreadable';
import { exportLines } from './export-source';
import { proofText, reportText } from './print-report';
import { checkProof } from './proof';
import { readSignedHead } from './read-line';
import { verifyExport } from './verify-export';

interface Options {
  registryKey?: string;
  previous?: string;
  proof?: number;
  checkProof?: string;
  dataDir: string;
  json: boolean;
}

const EXIT_WRONG = 1;
const EXIT_UNREADABLE = 2;

/** @param argv what follows the program's name. @returns the exit status. */
export async function verifyScoresCommand(argv: readonly string[], output: Output): Promise<number> {
  let status = EXIT_UNREADABLE;
  try {
    await program(output, async (from, options) => {
      const right = options.checkProof === undefined ? verify(from, options, output) : check(options, output);
      status = (await right) ? 0 : EXIT_WRONG;
    }).parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has said it.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_UNREADABLE;
    output.tell(error instanceof Unreadable ? error.message : String((error as Error).stack));
    return EXIT_UNREADABLE;
  }
}

type Act = (from: string | undefined, options: Options) => Promise<void>;

function program({ print, tell }: Output, act: Act): Command {
  return new Command('npm run verify:scores --')
    .description('Recomputes the scores of an export, from points to weights, and checks who signed it.')
    .argument('[export]', 'path or URL; by default the newest epoch of the registry that `npm start` runs')
    .addOption(new Option('--registry-key <hotkey>', 'who has to have signed it').env('REGISTRY_KEY'))
    .option('--previous <head>', 'the head before it: a file or URL of a head, or of a whole export')
    .addOption(new Option('--proof <seq>', 'print the proof that this event is in the export').argParser(seqNumber))
    .option('--check-proof <file>', 'check such a proof, instead of an export')
    .option('--data-dir <dir>', 'where `npm start` keeps its data', '.data')
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', '\nExit status: 0 everything is right, 1 something is wrong, 2 it could not be read.')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => print(text.trimEnd()), writeErr: (text) => tell(text.trimEnd()) })
    .action(act);
}

/** @returns whether everything is right. */
async function verify(given: string | undefined, options: Options, { print, tell }: Output): Promise<boolean> {
  const { registryKey, json, proof: proofOf } = options;
  const from = given ?? (await newestOfLocal(options.dataDir));
  const previous = options.previous === undefined ? undefined : await headIn(options.previous);
  const { report, proof } = await verifyExport(from, { registryKey, previous }, proofOf);
  if (proof === undefined) print(json ? JSON.stringify(report) : reportText(report));
  else if (report.ok) print(JSON.stringify(proof));
  // A proof is for a program: what speaks against it goes to the other side.
  else tell(reportText(report));
  return report.ok;
}

async function newestOfLocal(dataDir: string): Promise<string> {
  const registry = await localRegistry(dataDir);
  if (registry !== undefined) return `${registry}/v1/exports/epoch/latest`;
  throw new Unreadable(
    `no export was given, and there is no registry of \`npm start\` in ${dataDir}: give a path or URL`,
  );
}

/** The last line of whatever it is. */
async function headIn(from: string): Promise<SignedHead> {
  let last = '';
  for await (const line of exportLines(from)) last = line;
  return readSignedHead(last, from);
}

async function check({ checkProof: file = '', registryKey, json }: Options, { print }: Output): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new Unreadable(`${file} cannot be read (${error.message}): give the path of a proof`, { cause: error });
  });
  const report = checkProof(text, file, registryKey);
  print(json ? JSON.stringify(report) : proofText(report));
  return report.ok;
}

function seqNumber(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('expected the number of an event.');
  return Number(text);
}
