import { randomUUID } from 'node:crypto';
import { LORA_PART } from '@studio/shared/contract/miner-job';
import type { JobKind } from '@studio/shared/domain/job';
import { pointsFor } from '@studio/shared/domain/points';
import { taskKind } from '@studio/shared/domain/task-kinds';
import { pngChunk, withChunks } from '@studio/shared/testing/png-file';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import { resultForm } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import { WorkerRig } from '../worker.rig';
import { openFront, print, setRouting, takings, type Front, type Takings } from './contest.rig';

jest.setTimeout(120_000);

const TIMEOUT_MS = 60_000;
/** What a padded file has that nobody asked for; at 100 Mbit/s it would be a credit of 0.3 s, or of 0.08 s for a LoRA. */
const PADDING = Buffer.alloc(4_000_000, 'a stranger pays for this ');
const METADATA_PADDING = 'x'.repeat(1_000_000);

/** Between the quarters of a dripped reply. */
const [DRIP_PIECES, DRIP_MS] = [4, 250];

const RANK = 4;
const RESOLUTION = 64;

let rig: WorkerRig;
const fronts: Front[] = [];

beforeAll(async () => {
  rig = await WorkerRig.open();
  await setRouting(rig, { hedgeBudget: 0, loraLeadTurns: -1, exploreAfterMs: 600_000 });
});
afterAll(() => rig?.close());
afterEach(async () => {
  await rig.clear();
  await Promise.all(fronts.splice(0).map((front) => front.close()));
});

/** The same file by each miner, once plain, once padded, once padded and dripped; as many jobs for each. */
async function contest(
  plain: Buffer,
  padded: Buffer,
  part: string,
  addJob: () => Promise<string>,
): Promise<Record<string, Takings>> {
  const names = ['honest', 'padded', 'dripped'];
  const miners = await rig.useMiners(names.length);
  miners.forEach((miner, n) => {
    miner.answer = (request) => ({ status: 200, form: resultForm(request, { [part]: n === 0 ? plain : padded }) });
  });
  // All behind a front, so that the way is as long for each.
  for (const [n, miner] of miners.entries()) {
    const front = await openFront([miner], n === 2 ? DRIP_MS : 0);
    fronts.push(front);
    miner.routable.endpoint = `http://127.0.0.1:${front.port}`;
  }
  rig.announce();
  await rig.startWorker();
  const ids: string[] = [];
  for (let n = 0; n < 4 * names.length; n += 1) {
    ids.push(await addJob());
    await rig.finished(ids.at(-1)!);
  }
  return takings(rig, ids, (hotkey) => names[miners.findIndex((miner) => miner.hotkey === hotkey)]!);
}

function expectNothingGained(all: Record<string, Takings>, kind: JobKind): void {
  const bytes = (name: string): number[] => [...new Set(all[name]!.creditedBytes)];
  const meanPoints = (name: string): number => all[name]!.points / all[name]!.accepted;
  expect([bytes('padded'), bytes('dripped')]).toEqual([bytes('honest'), bytes('honest')]);
  // Not beside the honest one's points, which the machine's pauses decide: dripping takes its own time, and a credit for the
  // padding would give a part of that back.
  const { weightMicro } = taskKind(kind, 'ref-sep-v1');
  const points = pointsFor({ weightMicro, tMaxMs: TIMEOUT_MS, latencyUs: 0.9 * DRIP_PIECES * DRIP_MS * 1_000 });
  expect(meanPoints('dripped')).toBeLessThanOrEqual(Number(points) / 1e6);
  process.stdout.write(`bytes credited to each: ${bytes('honest').join(', ')}\n`);
}

describe('padding', () => {
  it('a picture with chunks and without compression brings no credit', async () => {
    const raw = await sharp(rig.image).png({ compressionLevel: 0 }).toBuffer();
    const padded = withChunks(raw, pngChunk('stRg', PADDING));
    const all = await contest(rig.image, padded, 'image_0', () => rig.addJob({ timeoutMs: TIMEOUT_MS }));
    print(`A picture of ${rig.image.length} bytes, padded to ${padded.length}`, all);
    expectNothingGained(all, 'lora-inference');
  });

  it('a LoRA with metadata brings no credit', async () => {
    const [plain, padded] = [someAdapter(RANK, RESOLUTION), someAdapter(RANK, RESOLUTION, { note: METADATA_PADDING })];
    const all = await contest(plain, padded, LORA_PART, addTraining);
    print(`A LoRA of ${plain.length} bytes, padded to ${padded.length}`, all);
    expectNothingGained(all, 'lora-training');
  });
});

async function addTraining(): Promise<string> {
  const id = randomUUID();
  const image = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'image/png', width: 64, height: 64, pixelHash: 'b'.repeat(64) }; // prettier-ignore
  const input = { image, resolution: RESOLUTION, steps: 10, rank: RANK, seed: 1 };
  await rig.db.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, routing, timeout_ms, deadline_at)
     VALUES ($1, $2, '', 'lora-training', 'ref-sep-v1', $3, '{}', $4, studio.now() + interval '2 minutes')`,
    [id, rig.client.clientId, JSON.stringify(input), TIMEOUT_MS],
  );
  return id;
}
