import { WALL_CLOCK } from '../clock';
import { Commitments } from '../commitments';
import { Cursor } from '../cursor';
import type { PylonClient } from '../pylon-client';
import { wallBlock, type Rhythm } from '../rhythm';
import { follow, MAX_AGE_EPOCHS, runOnce } from '../validator';
import { WeightsSetter } from '../weights-setter';
import { FileTarget, PylonTarget, type WeightsTarget } from '../weights-target';
import { OptionError, type RunOptions } from './options';
import { say } from './say';
import { following, placeOf, pylonOf } from './sources';

/** Follows the log and sets the weights until told to end. @returns the exit status. */
export async function run(options: RunOptions): Promise<number> {
  const pylon = await pylonOf(options);
  const setter = await WeightsSetter.open(options.stateDir, {
    target: targetOf(options, pylon),
    rhythm: rhythmOf(options),
    block: blockOf(options, pylon),
    maxAgeEpochs: options.maxAgeEpochs ?? MAX_AGE_EPOCHS,
    clock: WALL_CLOCK,
    say,
  });
  // Without memory of weights the log is read again: it has them.
  const cursor = setter.state.isBlank ? Cursor.atBeginning(options.stateDir) : await Cursor.open(options.stateDir, say);
  return following(options, cursor, async (sources) => {
    if (options.once) return (await runOnce(cursor, sources, setter)) ? 0 : 1;
    await follow(cursor, sources, setter, await Commitments.open(options.stateDir, say));
    return 0;
  });
}

function targetOf(options: RunOptions, pylon: PylonClient | undefined): WeightsTarget {
  if (options.target === 'file') return new FileTarget(placeOf(options, pylon));
  if (!pylon) throw new OptionError('--target pylon needs --pylon-url (PYLON_URL)');
  if (options.versionKey !== undefined) say('the sidecar sets a version_key of its own: --version-key is for the file');
  return new PylonTarget(pylon, placeOf(options, pylon));
}

function rhythmOf({ everyBlocks, blockMs }: RunOptions): Rhythm {
  return everyBlocks === undefined ? { every: 'epoch' } : { every: 'blocks', blocks: everyBlocks, blockMs };
}

function blockOf(
  { everyBlocks, blockClock, genesis: genesisMs, blockMs }: RunOptions,
  pylon: PylonClient | undefined,
): (() => Promise<number>) | undefined {
  if (blockClock === 'wall') return async () => wallBlock(WALL_CLOCK.now(), { genesisMs, blockMs });
  if (everyBlocks === undefined) throw new OptionError('--block-clock pylon is for --every-blocks: give that as well');
  if (!pylon) throw new OptionError('--block-clock pylon needs --pylon-url (PYLON_URL)');
  return () => pylon.block();
}
