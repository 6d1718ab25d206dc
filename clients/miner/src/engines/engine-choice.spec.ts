import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { EnvError } from '../env';
import { type EngineSettings, createCraft } from './engine-choice';
import { EngineEnv } from './env';

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
