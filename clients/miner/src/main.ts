import 'reflect-metadata';
import { Command, CommanderError } from 'commander';
import { appeal } from './commands/appealing';
import {
  type FlagName,
  KEY_FLAGS,
  REGISTER_FLAGS,
  REGISTRY_FLAGS,
  RUN_FLAGS,
  SELF_TEST_FLAGS,
  addFlags,
  variablesOf,
} from './commands/flags';
import { createKey, importKey, showKey } from './commands/keys';
import { register, withdraw } from './commands/registering';
import { run } from './commands/run';
import { selfTest } from './commands/self-test';
import { status } from './commands/status';
import { EnvError, type Variables, withFlags } from './env';
import { RegistryError } from './registry-client';

/** The command line is wrong, as shells have it; the configuration is wrong, a fault of ours (sysexits.h). */
const EX_USAGE = 2;
const EX_CONFIG = 78;
const EX_SOFTWARE = 70;
const EX_REFUSED = 1;

const program = new Command('miner')
  .description('Mines for Dippy Studio: takes jobs over HTTP, trains LoRAs and renders images.')
  .addHelpText('after', '\nEvery flag has the environment variable in [brackets]. docs/miners.md tells the whole way.')
  .showHelpAfterError('(--help lists what there is)')
  .exitOverride();

/** A command whose flags are variables of the environment. */
function command(parent: Command, signature: string, about: string, flags: readonly FlagName[]): Command {
  return addFlags(parent.command(signature, { isDefault: signature === 'run' }).description(about), flags);
}

/** The environment, the flags over it. */
function given(options: object, flags: readonly FlagName[]): Variables {
  return withFlags(variablesOf(options as Record<string, unknown>, flags));
}

command(program, 'run', 'run the miner (the default)', RUN_FLAGS).action((options: object) =>
  run(given(options, RUN_FLAGS)),
);

const keys = program.command('keys').description('the hotkey: who the miner is');
command(keys, 'create', 'make a new hotkey', KEY_FLAGS).action((options: object) =>
  createKey(given(options, KEY_FLAGS)),
);
command(keys, 'import', 'take over a hotkey from elsewhere', KEY_FLAGS)
  .argument('<source>', 'a keyfile of bittensor or Substrate, 64 hex digits, or - for standard input')
  .action((source: string, options: object) => importKey(given(options, KEY_FLAGS), source));
command(keys, 'show', 'print the address', KEY_FLAGS)
  .option('--reveal', 'print the secret as well')
  .action((options: { reveal?: boolean }) => showKey(given(options, KEY_FLAGS), options.reveal ?? false));

command(program, 'register', 'register once; `run` does it by itself', REGISTER_FLAGS).action((options: object) =>
  register(given(options, REGISTER_FLAGS)),
);
command(program, 'withdraw', 'take part no longer', REGISTRY_FLAGS).action((options: object) =>
  withdraw(given(options, REGISTRY_FLAGS)),
);
command(program, 'status', 'what the registry holds of this miner: score, jobs, what was missed', REGISTRY_FLAGS)
  .option('--json', 'print the reply as it is')
  .action((options: { json?: boolean }) => status(given(options, REGISTRY_FLAGS), options.json ?? false));
command(program, 'appeal', 'object to an invalid verdict: the audit is done again', REGISTRY_FLAGS)
  .requiredOption('--job <id>', 'the job, as `status` shows it')
  .requiredOption('--reason <text>', 'why the verdict is wrong, in at most 1000 characters')
  .action((options: { job: string; reason: string }) =>
    appeal(given(options, REGISTRY_FLAGS), options.job, options.reason),
  );
command(program, 'self-test', 'run the conformance suite against a miner', SELF_TEST_FLAGS)
  .option('--json', 'print the findings as JSON')
  .option('--only <names>', 'only these checks, with commas between them')
  .action(async (options: { json?: boolean; only?: string }) => {
    const passed = await selfTest(given(options, SELF_TEST_FLAGS), {
      json: options.json ?? false,
      ...(options.only && { only: options.only.split(',') }),
    });
    process.exitCode = passed ? 0 : EX_REFUSED;
  });

program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : EX_USAGE);
  const known = error instanceof EnvError || error instanceof RegistryError || !(error instanceof Error);
  process.stderr.write(`${known ? String(error).replace(/^\w+: /, '') : error.stack}\n`);
  process.exit(error instanceof EnvError ? EX_CONFIG : error instanceof RegistryError ? EX_REFUSED : EX_SOFTWARE);
});
