import { readFile } from 'node:fs/promises';
import { Cursor } from '../cursor';
import { secretsOf } from '../env';
import { loadHotkey } from '../key';
import { LiveFeed } from '../live-feed';
import { PylonClient } from '../pylon-client';
import { RegistryClient } from '../registry-client';
import type { ScoreSources } from '../score-stream';
import { MetagraphUnreadable, readMembers, type Members } from '../uids';
import type { FilePlace } from '../weights-file';
import { OptionError, type CommonOptions } from './options';
import { letGo, say, untilTold } from './say';

/** Opens what is followed, follows it, and closes it again. */
export async function following<T>(
  { registryUrl, keyFile }: CommonOptions,
  cursor: Cursor,
  follow: (sources: ScoreSources) => Promise<T>,
): Promise<T> {
  const hotkey = await loadHotkey({ seed: secretsOf().seed, keyFile });
  const live = hotkey && new LiveFeed({ registryUrl, hotkey, say });
  say(`following ${registryUrl}${hotkey ? ` as ${hotkey.address}` : ''} from event ${cursor.copy.seq + 1}`);
  try {
    return await follow({ registry: new RegistryClient(registryUrl), live, say, signal: untilTold() });
  } finally {
    await live?.close();
    letGo();
  }
}

/** The sidecar; undefined where none is named. @throws OptionError for half of its options. */
export async function pylonOf(options: CommonOptions): Promise<PylonClient | undefined> {
  const { pylonUrl: url, pylonIdentity: identity, netuid, pylonTokenFile } = options;
  if (url === undefined) return undefined;
  const token = pylonTokenFile === undefined ? secretsOf().pylonToken : await tokenIn(pylonTokenFile);
  if (identity === undefined) throw new OptionError('--pylon-url needs --pylon-identity (PYLON_IDENTITY)');
  if (netuid === undefined) throw new OptionError('--pylon-url needs --netuid (NETUID)');
  if (!token) throw new OptionError("--pylon-url needs PYLON_TOKEN or --pylon-token-file: the identity's token");
  return new PylonClient({ url, identity, netuid, token });
}

/** The file of weights, with uids where a metagraph can be read. */
export function placeOf(options: CommonOptions, pylon: PylonClient | undefined): FilePlace {
  const { outFile: path, netuid, versionKey, metagraph } = options;
  if (metagraph !== undefined && pylon) {
    throw new OptionError('--metagraph and --pylon-url: give one of them, uids cannot come from both');
  }
  const members = metagraph === undefined ? pylon && (() => pylon.members()) : () => membersIn(metagraph);
  return { path, netuid, versionKey, members };
}

/** Read each time, because it changes. @throws MetagraphUnreadable */
async function membersIn(path: string): Promise<Members> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new MetagraphUnreadable(`${path} cannot be read (${error.code}): see --metagraph`);
  });
  try {
    return readMembers(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) throw new MetagraphUnreadable(`${path} is no JSON`);
    throw error;
  }
}

async function tokenIn(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new OptionError(`--pylon-token-file ${path} cannot be read (${error.code})`);
  });
  return text.trim();
}
