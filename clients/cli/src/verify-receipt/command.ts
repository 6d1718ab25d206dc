import { Command, CommanderError } from 'commander';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { readReceipt, Unreadable } from './read-receipt';
import { verifyReceipt, type CheckedReceipt, type GivenFile } from './verify-receipt';

export interface Output {
  print: (text: string) => void;
  tell: (text: string) => void;
}

interface Options {
  orchestratorKey?: string;
  input?: string;
  output: string[];
  json: boolean;
}

const EXIT_WRONG = 1;
const EXIT_UNREADABLE = 2;

/** A receipt is a few kB; its input holds a prompt. */
const MAX_RECEIPT_BYTES = 1024 * 1024;

/** @param argv what follows the program's name. @returns the exit status. */
export async function verifyReceiptCommand(argv: readonly string[], { print, tell }: Output): Promise<number> {
  let status = EXIT_UNREADABLE;
  const act = async (file: string, options: Options): Promise<void> => {
    const checked = await verify(file, options);
    print(options.json ? JSON.stringify(checked) : reportText(checked));
    status = checked.ok ? 0 : EXIT_WRONG;
  };
  try {
    await program({ print, tell }, act).parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has said it.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_UNREADABLE;
    tell(error instanceof Unreadable ? error.message : String((error as Error).stack));
    return EXIT_UNREADABLE;
  }
}

function program({ print, tell }: Output, act: (file: string, options: Options) => Promise<void>): Command {
  return new Command('npm run verify:receipt --')
    .description("Checks a job's receipt: who signed it, and that it is about these files. Asks nobody.")
    .argument('<file>', 'what GET /v1/jobs/{id}/receipt answered')
    .option('--orchestrator-key <hotkey>', 'who has to have signed it (the registry tells its own at /v1/identity)')
    .option('--input <file>', 'the photograph as it was trained on, or the LoRA that was rendered with')
    .option('--output <file>', 'a file that came out; may be repeated', (file, files: string[]) => [...files, file], [])
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', '\nExit status: 0 everything is right, 1 something is wrong, 2 it could not be read.')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => print(text.trimEnd()), writeErr: (text) => tell(text.trimEnd()) })
    .action(act);
}

async function verify(file: string, { orchestratorKey, input, output }: Options): Promise<CheckedReceipt> {
  const { size } = await stat(file).catch(unreadable(file, 'give the path of a receipt'));
  if (size > MAX_RECEIPT_BYTES) throw new Unreadable(`${file} is too large to be a receipt: ${size} bytes`);
  const signed = readReceipt(await readFile(file, 'utf8').catch(unreadable(file, 'give the path of a receipt')), file);
  return verifyReceipt(signed, {
    orchestratorKey,
    input: input === undefined ? undefined : await hashed(input),
    outputs: await Promise.all(output.map(hashed)),
  });
}

async function hashed(path: string): Promise<GivenFile> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash).catch(unreadable(path, 'give the path of the file'));
  return { path, sha256: hash.digest('hex') };
}

function unreadable(file: string, remedy: string) {
  return (error: Error): never => {
    throw new Unreadable(`${file} cannot be read (${error.message}): ${remedy}`, { cause: error });
  };
}

function reportText({ ok, checks, receipt }: CheckedReceipt): string {
  const lines = checks.flatMap(({ name, says, problems, skipped, note }) => {
    if (skipped !== undefined) return [`– ${name}: not checked: ${skipped}`];
    if (problems.length > 0) return problems.map((problem) => `✗ ${name}: ${problem}`);
    return [`✓ ${name}: ${says}${note === undefined ? '' : ` (${note})`}`];
  });
  const { job_id: id, kind, engine, state, orchestrator } = receipt;
  const verdict = ok ? `is a receipt of ${orchestrator}` : 'does NOT verify';
  return [...lines, `job ${id}, ${kind} on ${engine}, ${state}: ${verdict}`].join('\n');
}
