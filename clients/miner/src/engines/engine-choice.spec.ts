import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import pino from 'pino';
import sharp from 'sharp';
import { Response, request } from 'undici';
import { EnvError, minerEnv } from '../env';
import { startMiner } from '../miner';
import { type EngineSettings, createCraft } from './engine-choice';
import { EngineEnv } from './env';
import { FakeComfyUi } from './testing/fake-comfyui';

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'choice-'))));
afterEach(() => rm(folder, { recursive: true, force: true }));

const choose = (over: Partial<EngineSettings>) =>
  createCraft(
    Object.assign(new EngineEnv(), {
      MINER_SLOTS_TRAINING: 1,
      MINER_SLOTS_INFERENCE: 1,
      MINER_DATA_DIR: folder,
      // Nobody listens there: an engine is made all the same.
      MINER_HTTP_URL: 'http://127.0.0.1:9',
      MINER_HTTP_WORKFLOW: join(__dirname, '../../examples/comfyui-flux-lora.json'),
      MINER_HTTP_LORA_DIR: folder,
      ...over,
    }),
    { filename: 'unused' },
    pino({ level: 'silent' }),
  );

describe('the choice of an engine', () => {
  it('offers training beside an image server where a trainer is given', async () => {
    const both = await choose({ MINER_ENGINE: 'http', MINER_COMMAND_TRAIN: 'python train.py' });
    expect([both.engine, both.kinds]).toEqual(['flux', ['lora-training', 'lora-inference']]);
    await both.close();
  });

  it('refuses a trainer for another engine than that of the image server', async () => {
    const mixed = choose({
      MINER_ENGINE: 'http',
      MINER_COMMAND_TRAIN: 'python train.py',
      MINER_COMMAND_ENGINE: 'ref-sep-v1',
    });
    await expect(mixed).rejects.toThrow(
      new EnvError('MINER_COMMAND_ENGINE must be flux where MINER_COMMAND_TRAIN trains beside MINER_ENGINE=http'),
    );
  });

  it('refuses a LoRA folder that is not there, or is none', async () => {
    for (const MINER_HTTP_LORA_DIR of [join(folder, 'missing'), __filename]) {
      const chosen = choose({ MINER_ENGINE: 'http', MINER_HTTP_API: 'automatic1111', MINER_HTTP_LORA_DIR });
      await expect(chosen).rejects.toThrow(/^MINER_HTTP_LORA_DIR must be a folder that this miner can write to \(/);
    }
  });

  it('refuses a workflow that cannot be read, before the miner registers', async () => {
    const chosen = choose({ MINER_ENGINE: 'http', MINER_HTTP_WORKFLOW: join(folder, 'missing.json') });
    await expect(chosen).rejects.toThrow(EnvError);
  });
});

describe('a miner with an image server', () => {
  const LORA = Buffer.from('the bytes of a LoRA');
  const input = createServer((_, res) => res.end(LORA));
  let comfy: FakeComfyUi;

  beforeEach(async () => {
    comfy = new FakeComfyUi(folder);
    await comfy.listen();
    input.listen(0, '127.0.0.1');
    await once(input, 'listening');
  });

  afterEach(async () => {
    await comfy.close();
    input.closeAllConnections();
    await new Promise((resolve) => input.close(resolve));
  });

  it('answers a job of the miner contract with the images that the server drew', async () => {
    const seed = '11'.repeat(32);
    const env = minerEnv({
      MINER_SEED: seed,
      MINER_PORT: '0',
      MINER_DATA_DIR: join(folder, 'data'),
      MINER_ENGINE: 'http',
      MINER_HTTP_URL: comfy.url,
      MINER_HTTP_WORKFLOW: join(__dirname, '../../examples/comfyui-flux-lora.json'),
      MINER_HTTP_LORA_DIR: folder,
    });
    const log = pino({ level: 'silent' });
    const miner = await startMiner({ env, hotkey: hotkeyFromSeed(seed), threads: { filename: 'unused' }, log });
    const base = `http://127.0.0.1:${miner.port}`;
    const capacity = await (await request(`${base}/v1/capacity`)).body.json();
    expect(capacity).toEqual({ kinds: { 'lora-inference': { engines: ['flux'], slots: 4 } } });
    const { port } = input.address() as AddressInfo;
    const lora = {
      url: `http://127.0.0.1:${port}/`,
      sha256: createHash('sha256').update(LORA).digest('hex'),
      bytes: LORA.length,
    };
    const drawing = { prompt: 'p', width: 72, height: 64, seed: 2 ** 32 - 1, lora_scale: 1, warp: 0, num_images: 2 };
    const reply = await request(`${base}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        job_id: randomUUID(),
        attempt: 1,
        kind: 'lora-inference',
        engine: 'flux',
        input: { lora, ...drawing },
        timeout_ms: 25_000,
        callback: { url: 'http://127.0.0.1:9/', secret: 'unused' },
      }),
    });
    const body = Buffer.from(await reply.body.arrayBuffer());
    const type = reply.headers['content-type'] as string;
    const form = await new Response(body, { headers: { 'content-type': type } }).formData();
    const images = ['image_0', 'image_1'].map(async (part) => {
      const file = await (form.get(part) as unknown as Blob).arrayBuffer();
      const { data, info } = await sharp(Buffer.from(file)).raw().toBuffer({ resolveWithObject: true });
      return [info.width, info.height, data[0]];
    });
    // The seeds of the two: 2³² − 1 and, after it, 0.
    expect(await Promise.all(images)).toEqual([
      [72, 64, 255],
      [72, 64, 0],
    ]);
    await miner.close();
  });
});
