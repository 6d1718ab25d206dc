import { RegistryClient } from '../registry-client';
import type { CheckedSnapshot } from '../snapshot-check';
import { checkedEpoch } from '../validator';
import { diffOf, diffText, weightsTable } from '../weights-diff';
import { chainPartOf, readWeights, writeWeights, type ChainPart, type FilePlace } from '../weights-file';
import { NothingToSet } from '../weights-target';
import type { CommonOptions } from './options';
import { letGo, print, say, untilTold } from './say';
import { placeOf, pylonOf } from './sources';

export interface WeightsOptions extends CommonOptions {
  epoch: number | 'latest';
  dryRun: boolean;
  json: boolean;
}

/** Replays the whole log, and shows or writes the weights of one epoch beside the last ones. */
export async function weights(options: WeightsOptions): Promise<void> {
  const registry = new RegistryClient(options.registryUrl);
  const place = placeOf(options, await pylonOf(options));
  const checked = await checkedEpoch(options.epoch, { registry, say, signal: untilTold() });
  const shares = checked.miners.map(({ hotkey, weight }) => ({ hotkey, share: weight }));
  const chain = await chainPartOf(shares, place);
  if (chain?.leftOut.length) say(`not in the metagraph, left out: ${chain.leftOut.join(', ')}`);
  if (checked.emptyBecause !== null) say(new NothingToSet(checked.emptyBecause).message);
  if (options.dryRun) await show(checked, chain, options);
  else await write(checked, chain, place);
  letGo();
}

async function show(checked: CheckedSnapshot, chain: ChainPart | undefined, options: WeightsOptions): Promise<void> {
  const before = await readWeights(options.outFile);
  const diff = diffOf(before, checked.weights);
  if (options.json) print(JSON.stringify({ weights: checked.weights, chain, diff }));
  else print(`${weightsTable(checked, before)}\n${diffText(diff)}`);
}

/** The last good weights are never replaced by none. */
async function write(checked: CheckedSnapshot, chain: ChainPart | undefined, place: FilePlace): Promise<void> {
  const before = await readWeights(place.path);
  if (checked.emptyBecause !== null && before !== null && before.hotkeys.length > 0) {
    say(`${place.path} stays as it is`);
  } else {
    await writeWeights(checked.weights, place, chain);
    say(diffText(diffOf(before, checked.weights)).split('\n', 1)[0]!);
  }
  print(JSON.stringify(checked.weights));
}
