/** What `npm run keys` understands. Revoked and limited here, a key is so at every api within the time that look-ups are kept. */
import {
  DEFAULT_QUEUED_JOBS,
  DEFAULT_REQUESTS_PER_MINUTE,
  NewKeyCommand,
  SCOPES,
  type KeyEventView,
  type KeyView,
  type Scope,
} from '@studio/shared/contract/client-keys';
import { validated } from '@studio/shared/contract/validated';
import { isStudioError } from '@studio/shared/domain/errors';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { hostname, userInfo } from 'node:os';
import type { Actor, ClientKeyStore, KeyLimits } from '../client-key.store';
import { BELIEVED_MS } from './client-access';

export type KeyWork = (keys: ClientKeyStore) => Promise<void>;

export interface Output {
  print: (text: string) => void;
  tell: (text: string) => void;
}

type Limit = number | 'none';

interface LimitOptions {
  perMinute?: Limit;
  queued?: Limit;
}

interface CreateOptions extends LimitOptions {
  name: string;
  clientId?: string;
  scopes?: string[];
}

const EXIT_FAILED = 1;
/** Newest events shown. */
const SHOWN_EVENTS = 100;

/** @param withStore opens the database, for as long as the work takes. @returns the exit status. */
export async function keysCommand(
  argv: readonly string[],
  withStore: (work: KeyWork) => Promise<void>,
  output: Output,
): Promise<number> {
  try {
    await program(withStore, output).parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has said it.
    if (error instanceof CommanderError) return error.exitCode;
    output.tell(isStudioError(error) ? error.message : `nothing was done: ${(error as Error).message}`);
    return EXIT_FAILED;
  }
}

function program(withStore: (work: KeyWork) => Promise<void>, { print, tell }: Output): Command {
  const keys = new Command('npm run keys --')
    .description('API keys of clients, in the database that POSTGRES_URL names.')
    .addHelpText(
      'after',
      `\nA change holds at every api within ${BELIEVED_MS / 1_000} s. Who did what is written down: see \`events\`.`,
    )
    .exitOverride()
    .configureOutput({ writeOut: (text) => print(text.trimEnd()), writeErr: (text) => tell(text.trimEnd()) });
  const subcommand = (usage: string, description: string): Command =>
    keys.command(usage).description(description).allowExcessArguments(false);

  limited(subcommand('create', 'make a key and print it, once'), true)
    .requiredOption('--name <name>', 'what it is for, shown in lists')
    .option('--client-id <uuid>', 'the client that owns it; a new one where not given')
    .option('--scopes <scopes>', `of ${SCOPES.join(',')}; all where not given`, (text) => text.split(','))
    .action((options: CreateOptions) => withStore(async (store) => print(await create(store, options))));
  subcommand('list', 'all keys, never their secrets').action(() =>
    withStore(async (store) => print(lines(await store.list(), keyLine))),
  );
  limited(subcommand('limit <id>', 'change what is given of the limits'), false).action(
    (id: string, options: LimitOptions) =>
      withStore(async (store) => print(keyLine(await store.limit(uuid(id), limitsOf(options), operator())))),
  );
  subcommand('revoke <id>', 'end a key for good').action((id: string) =>
    withStore(async (store) => print(keyLine(await store.revoke(uuid(id), operator())))),
  );
  subcommand('events', 'what was done to keys, newest first').action(() =>
    withStore(async (store) => print(lines(await store.events(null, null, SHOWN_EVENTS), eventLine))),
  );
  return keys;
}

function limited(command: Command, isNew: boolean): Command {
  const perMinute = new Option('--per-minute <requests>', 'requests a minute, or `none`').argParser(limit);
  const queued = new Option('--queued <jobs>', "the client's jobs that may wait, or `none`").argParser(limit);
  return command
    .addOption(isNew ? perMinute.default(DEFAULT_REQUESTS_PER_MINUTE) : perMinute)
    .addOption(isNew ? queued.default(DEFAULT_QUEUED_JOBS) : queued);
}

/** By the rules of the operators' HTTP door. @returns the key alone, for scripts. */
async function create(store: ClientKeyStore, { name, clientId, scopes, ...options }: CreateOptions): Promise<string> {
  const limits = limitsOf(options);
  const asked = { name, client_id: clientId, scopes: scopes as Scope[] | undefined };
  validated(NewKeyCommand, { ...asked, requests_per_minute: limits.requestsPerMinute, queued_jobs: limits.queuedJobs });
  return (await store.create(name, { clientId, scopes: asked.scopes, ...limits, by: operator() })).key;
}

function limitsOf({ perMinute, queued }: LimitOptions): Partial<KeyLimits> {
  const [requestsPerMinute, queuedJobs] = [perMinute, queued].map((given) => (given === 'none' ? null : given));
  return { requestsPerMinute, queuedJobs };
}

function limit(text: string): Limit {
  if (text === 'none') return text;
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('expected a number from 1 to 999999, or `none`.');
  return Number(text);
}

function uuid(text: string): string {
  if (/^[0-9a-f-]{36}$/i.test(text)) return text;
  throw new InvalidArgumentError(`"${text}" is no id: take it from the first column of \`list\`.`);
}

function operator(): Actor {
  return { who: userName(), origin: hostname() };
}

/** In a container the user may be a number that no file names: Node throws then. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}

function keyLine({
  id,
  prefix,
  client_id,
  name,
  scopes,
  requests_per_minute,
  queued_jobs,
  revoked_at,
}: KeyView): string {
  const limits = `${requests_per_minute ?? 'any number of'} requests a minute, ${queued_jobs ?? 'any number of'} queued jobs`;
  const ended = revoked_at === null ? '' : `  revoked ${new Date(revoked_at).toISOString()}`;
  return `${id}  studio_${prefix}_…  client ${client_id}  ${scopes.join(',')}  ${limits}  ${JSON.stringify(name)}${ended}`;
}

function eventLine({ at, action, key_id, who, origin, detail }: KeyEventView): string {
  return `${new Date(at).toISOString()}  ${action}  ${key_id}  by ${who} from ${origin}  ${JSON.stringify(detail)}`;
}

function lines<T>(rows: readonly T[], line: (row: T) => string): string {
  return rows.length === 0 ? 'none' : rows.map(line).join('\n');
}
