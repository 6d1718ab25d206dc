import 'reflect-metadata';
import { Command, CommanderError } from 'commander';
import { commonOptions, epochNumber, OptionError, runOptions, type RunOptions } from './commands/options';
import { run } from './commands/run';
import { say } from './commands/say';
import { watch, type WatchOptions } from './commands/watch';
import { weights, type WeightsOptions } from './commands/weights';
import { KeyUnusable } from './key';

/** The command line is wrong, as shells have it; the configuration is (sysexits.h). */
const EX_USAGE = 2;
const EX_CONFIG = 78;

const program = commonOptions(
  new Command('validator')
    .description('Replays the log of scores, recomputes every number and sets the weights.')
    .addHelpText('after', '\ndocs/validators.md tells the whole way, from nothing to weights.')
    .showHelpAfterError('(--help lists what there is)')
    .exitOverride(),
);

runOptions(
  program.command('run', { isDefault: true }).description('follow the log and set the weights of every epoch'),
).action(async (_own: object, command: Command) => {
  process.exitCode = await run(command.optsWithGlobals<RunOptions>());
});

program
  .command('watch')
  .description('follow the log: a live table on a terminal, else every event as a line of JSON')
  .option('--json', 'lines of JSON on a terminal too', false)
  .action((_own: object, command: Command) => watch(command.optsWithGlobals<WatchOptions>()));

program
  .command('weights')
  .description('replay the whole log, and write the weights of one epoch and print them')
  .option('--epoch <n>', 'a closed epoch, or latest', epochNumber, 'latest')
  .option('--dry-run', 'write nothing: show them, and what changes against the file', false)
  .option('--json', 'with --dry-run: one JSON object', false)
  .action((_own: object, command: Command) => weights(command.optsWithGlobals<WeightsOptions>()));

program.parseAsync().catch((error: Error) => {
  // Commander has said it.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : EX_USAGE);
  say(error.message);
  process.exit(error instanceof OptionError || error instanceof KeyUnusable ? EX_CONFIG : 1);
});
