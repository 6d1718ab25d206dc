import 'reflect-metadata';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Commitments } from './commitments';
import { Cursor } from './cursor';
import { LiveFeed } from './live-feed';
import { RegistryClient } from './registry-client';
import type { ScoreSources } from './score-stream';
import { run, watch, weightsOf, writeWeights } from './validator';

interface Options {
  registryUrl: string;
  natsUrl?: string;
  stateDir: string;
  outFile: string;
  netuid?: number;
}

const say = (text: string): void => void process.stderr.write(`validator  ${text}\n`);

/** Aborts on SIGTERM, SIGINT and the death of the parent, which all mean: finish, save, end. */
function untilTold(): AbortSignal {
  const told = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => told.abort());
  process.on('disconnect', () => told.abort());
  return told.signal;
}

async function following(
  { registryUrl, natsUrl, stateDir }: Options,
  follow: (cursor: Cursor, sources: ScoreSources) => Promise<void>,
): Promise<void> {
  const signal = untilTold();
  const live = natsUrl === undefined ? undefined : new LiveFeed(natsUrl);
  const cursor = await Cursor.open(stateDir, say);
  say(`following ${registryUrl} from event ${cursor.copy.seq + 1}`);
  try {
    await follow(cursor, { registry: new RegistryClient(registryUrl), live, say, signal });
  } finally {
    await live?.close();
  }
  // The channel to a parent would keep the process alive.
  if (process.connected) process.disconnect();
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number.');
  return Number(text);
}

function epochNumber(text: string): number | 'latest' {
  return text === 'latest' ? 'latest' : wholeNumber(text);
}

const program = new Command('validator')
  .description('Replays the log of scores, recomputes every number and writes the weights.')
  .addOption(new Option('--registry-url <url>', 'HTTP of the registry').env('REGISTRY_URL').makeOptionMandatory())
  .addOption(new Option('--nats-url <url>', 'NATS of the registry; without it HTTP is polled').env('NATS_URL'))
  .addOption(new Option('--state-dir <dir>', 'where the cursor is kept').env('STATE_DIR').default('.validator'))
  .addOption(new Option('--out-file <file>', 'where weights go').env('OUT_FILE').default('weights.json'))
  .addOption(new Option('--netuid <n>', 'subnet, copied into the weights').env('NETUID').argParser(wholeNumber));

const options = (): Options => program.opts<Options>();

program
  .command('run', { isDefault: true })
  .description('follow the log and write the weights of every epoch')
  .action(() =>
    following(options(), async (cursor, sources) => {
      const { outFile: path, netuid, stateDir } = options();
      await run(cursor, sources, { path, netuid }, await Commitments.open(stateDir, say));
    }),
  );

program
  .command('watch')
  .description('follow the log and print every event as a line of JSON')
  .action(() =>
    following(options(), (cursor, sources) =>
      watch(cursor, sources, (event) => void process.stdout.write(`${JSON.stringify(event)}\n`)),
    ),
  );

program
  .command('weights')
  .description('replay the whole log, write the weights of one epoch and print them')
  .option('--epoch <n>', 'a closed epoch, or latest', epochNumber, 'latest')
  .action(async ({ epoch }: { epoch: number | 'latest' }) => {
    const { registryUrl, outFile: path, netuid } = options();
    const registry = new RegistryClient(registryUrl);
    const weights = await weightsOf(epoch, { registry, say, signal: untilTold() });
    await writeWeights(weights, { path, netuid });
    process.stdout.write(`${JSON.stringify(weights)}\n`);
    if (process.connected) process.disconnect();
  });

program.parseAsync().catch((error: Error) => {
  say(error.message);
  process.exit(1);
});
