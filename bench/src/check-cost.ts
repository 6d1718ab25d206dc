import { rmSync } from 'node:fs';
import { checkImage } from '@studio/querier/checks/image-check';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import sharp from 'sharp';
import { picture, SIDE } from './workload';

/** CPU milliseconds of what is done with every picture, apart from the job's way to it. */
export interface CheckCost {
  /** Decode, hash, re-encode. */
  checkMs: number;
  /** Write to a file, synced. */
  storeMs: number;
}

const TIMES = 200;
const WARM_UP = 20;

export async function measureCheckCost(dir: string): Promise<CheckCost> {
  // As in the worker's check threads.
  sharp.concurrency(1);
  sharp.cache(false);
  const bytes = await picture();
  const artifacts = new FileArtifactStore(dir);
  const check = (): Promise<unknown> => checkImage(bytes, { width: SIDE, height: SIDE });
  const store = (): Promise<unknown> => artifacts.put(bytes, { contentType: 'image/png', maxBytes: bytes.length });
  const cost = { checkMs: await cpuOf(check), storeMs: await cpuOf(store) };
  rmSync(dir, { recursive: true, force: true });
  return cost;
}

/** Of one run, every thread of this process included. */
async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  for (let i = 0; i < WARM_UP; i += 1) await work();
  const before = process.cpuUsage();
  for (let i = 0; i < TIMES; i += 1) await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / TIMES;
}
