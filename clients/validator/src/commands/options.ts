import { InvalidArgumentError, Option, type Command } from 'commander';

export interface CommonOptions {
  registryUrl: string;
  stateDir: string;
  outFile: string;
  keyFile?: string;
  netuid?: number;
  versionKey?: number;
  metagraph?: string;
  pylonUrl?: string;
  pylonIdentity?: string;
  pylonTokenFile?: string;
}

export interface RunOptions extends CommonOptions {
  target: 'file' | 'pylon';
  everyBlocks?: number;
  blockClock: 'wall' | 'pylon';
  blockMs: number;
  genesis: number;
  maxAgeEpochs: number;
  once: boolean;
}

/** An option is missing, or two do not go together; the message names them and the remedy. */
export class OptionError extends Error {
  override readonly name = 'OptionError';
}

export function commonOptions(program: Command): Command {
  return program
    .addOption(
      new Option('--registry-url <url>', 'HTTP of the registry')
        .env('REGISTRY_URL')
        .argParser(httpUrl)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--key-file <file>', "the validator's hotkey: listens to the stream too, not HTTP alone").env(
        'VALIDATOR_KEY_FILE',
      ),
    )
    .addOption(new Option('--state-dir <dir>', 'what is remembered').env('STATE_DIR').default('.validator'))
    .addOption(new Option('--out, --out-file <file>', 'where weights go').env('OUT_FILE').default('weights.json'))
    .addOption(new Option('--netuid <n>', 'number of the subnet').env('NETUID').argParser(whole(65_535)))
    .addOption(
      new Option('--version-key <n>', 'version_key of the weights in the file (the sidecar has its own)')
        .env('WEIGHTS_VERSION_KEY')
        .argParser(whole(Number.MAX_SAFE_INTEGER)),
    )
    .addOption(
      new Option('--metagraph <file>', 'JSON with the neurons of the subnet: puts uids into the file').env(
        'METAGRAPH_FILE',
      ),
    )
    .addOption(new Option('--pylon-url <url>', 'bittensor-pylon, the sidecar').env('PYLON_URL').argParser(httpUrl))
    .addOption(new Option('--pylon-identity <name>', 'as in its PYLON_IDENTITIES').env('PYLON_IDENTITY'))
    .addOption(
      new Option('--pylon-token-file <file>', "file with that identity's token, or PYLON_TOKEN").env(
        'PYLON_TOKEN_FILE',
      ),
    );
}

export function runOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--target <target>', 'who gets the weights')
        .env('WEIGHTS_TARGET')
        .choices(['file', 'pylon'])
        .default('file'),
    )
    .addOption(
      new Option(
        '--every-blocks <n>',
        "set weights by the chain's blocks, as 360, not with every epoch of the registry",
      )
        .env('WEIGHTS_EVERY_BLOCKS')
        .argParser(whole(1_000_000, 1)),
    )
    .addOption(
      new Option('--block-clock <clock>', 'where blocks are read: wall (time), or pylon (the sidecar)')
        .env('BLOCK_CLOCK')
        .choices(['wall', 'pylon'])
        .default('wall'),
    )
    .addOption(
      new Option('--block-ms <ms>', 'length of a block').env('BLOCK_MS').argParser(whole(3_600_000, 1)).default(12_000),
    )
    .addOption(
      new Option('--genesis <time>', 'when block 0 was, for the wall clock')
        .env('BLOCK_GENESIS')
        .argParser(moment)
        .default(0, '1970-01-01T00:00:00Z'),
    )
    .addOption(
      new Option('--max-age-epochs <n>', 'weights older than this are not handed over again (default: 20, the window)')
        .env('WEIGHTS_MAX_AGE_EPOCHS')
        .argParser(whole(1_000_000, 1)),
    )
    .option('--once', 'set weights once and end: status 0 if they are set', false);
}

export function epochNumber(text: string): number | 'latest' {
  return text === 'latest' ? 'latest' : whole(2_147_483_647, 1)(text);
}

function whole(max: number, min = 0): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,16}$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It has to be a whole number from ${min} to ${max}.`);
  };
}

function httpUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text;
  throw new InvalidArgumentError('It has to be a URL, as http://127.0.0.1:4020.');
}

function moment(text: string): number {
  const time = Date.parse(text);
  if (Number.isFinite(time)) return time;
  throw new InvalidArgumentError('It has to be a time, as 2026-01-01T00:00:00Z.');
}
