import {
  HOSTILE_LORA,
  HOSTILE_SIZE,
  PAYLOAD,
  honestResults,
  hostileResults,
  type HostileResult,
} from '@studio/shared/testing/hostile-results';
import { imagePart, LORA_PART } from '@studio/shared/contract/miner-job';
import { CheckPool } from './checks/check-pool';
import { expectedFiles, readMinerResult, ResultRefused } from './miner-result';

jest.setTimeout(120_000);

const PIECE_BYTES = 65_536;
/** As undici gives a body. */
async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

const IMAGE_INPUT = { ...HOSTILE_SIZE, numImages: 1 } as Parameters<typeof expectedFiles>[2];
const LORA_INPUT = { rank: HOSTILE_LORA.rank } as Parameters<typeof expectedFiles>[2];

describe('a result at the door', () => {
  const pool = new CheckPool({ threads: 1 });
  afterAll(() => pool.close());

  /** Why it is refused, or the bytes that are kept. */
  async function judge({ kind, contentType, body }: Omit<HostileResult, 'reason'>): Promise<string | Uint8Array> {
    const [job, input] =
      kind === 'image' ? (['lora-inference', IMAGE_INPUT] as const) : (['lora-training', LORA_INPUT] as const);
    try {
      const { files } = await readMinerResult(pieces(body), contentType, expectedFiles(job, 'ref-sep-v1', input));
      if (kind === 'image') {
        const image = await pool.image(files.get(imagePart(0))!, HOSTILE_SIZE);
        return image.ok ? image.value.png : image.reason;
      }
      const lora = await pool.lora(files.get(LORA_PART)!, HOSTILE_LORA);
      return lora.ok ? new Uint8Array() : lora.reason;
    } catch (error) {
      if (error instanceof ResultRefused) return error.message;
      throw error;
    }
  }

  it('is accepted when it is honest', async () => {
    for (const honest of await honestResults()) expect(await judge(honest)).toBeInstanceOf(Uint8Array);
  });

  it('is refused for what is wrong with it, or kept without what was hidden in it', async () => {
    const results = await hostileResults();
    const found: Record<string, string> = {};
    for (const hostile of results) {
      const judged = await judge(hostile);
      const kept = judged instanceof Uint8Array ? Buffer.from(judged) : undefined;
      found[hostile.name] = kept ? (kept.includes(PAYLOAD) ? 'kept with its payload' : 'clean') : String(judged);
    }
    const wrong = results.filter(({ name, reason }) =>
      reason === 'clean' ? found[name] !== 'clean' : found[name] === 'clean' || !reason.test(found[name]!),
    );
    expect(wrong.map(({ name, reason }) => `${name}: ${found[name]?.slice(0, 200)}, not ${String(reason)}`)).toEqual(
      [],
    );
  });
});
