import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import pino from 'pino';
import type { RenderWork } from '../craft';
import { type ChosenEngine, type EngineSettings, createCraft } from './engine-choice';
import { EngineEnv, type HttpApi } from './env';
import { FakeAutomatic1111 } from './testing/fake-automatic1111';
import { FakeComfyUi } from './testing/fake-comfyui';

const WORKFLOW = join(__dirname, '../../examples/comfyui-flux-lora.json');
const LORA = Buffer.from('the bytes of a LoRA');
const NEVER = new AbortController().signal;
const silent = pino({ level: 'silent' });

let loraDir: string;
let comfy: FakeComfyUi;
let webui: FakeAutomatic1111;
const engines: ChosenEngine[] = [];

beforeEach(async () => {
  loraDir = await mkdtemp(join(tmpdir(), 'loras-'));
  comfy = new FakeComfyUi(loraDir);
  webui = new FakeAutomatic1111(loraDir);
  await Promise.all([comfy.listen(), webui.listen()]);
});

afterEach(async () => {
  comfy.gate.open();
  webui.gate.open();
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
  await Promise.all([comfy.close(), webui.close()]);
  await rm(loraDir, { recursive: true, force: true });
});

function settings(api: HttpApi, over: Partial<EngineSettings> = {}): EngineSettings {
  return Object.assign(new EngineEnv(), {
    MINER_SLOTS_TRAINING: 1,
    MINER_SLOTS_INFERENCE: 4,
    MINER_DATA_DIR: loraDir,
    MINER_ENGINE: 'http' as const,
    MINER_HTTP_API: api,
    MINER_HTTP_URL: api === 'comfyui' ? comfy.url : webui.url,
    MINER_HTTP_WORKFLOW: WORKFLOW,
    MINER_HTTP_LORA_DIR: loraDir,
    ...over,
  });
}

async function engine(api: HttpApi, over: Partial<EngineSettings> = {}): Promise<ChosenEngine> {
  const made = await createCraft(settings(api, over), { filename: 'unused' }, silent);
  engines.push(made);
  return made;
}

function work(over: Partial<RenderWork> = {}): RenderWork {
  return {
    lora: LORA,
    prompt: 'a cat',
    width: 64,
    height: 64,
    seeds: [5],
    loraScale: 0.5,
    warp: 0,
    timeoutMs: 25_000,
    ...over,
  };
}

const colour = ({ rgb }: { rgb: Uint8Array }): number[] => [...rgb.subarray(0, 3)];
const loraFiles = async (): Promise<string[]> => (await readdir(loraDir)).filter((name) => /safetensors/.test(name));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.each(['comfyui', 'automatic1111'] as const)('an image server that speaks as %s', (api) => {
  const server = () => (api === 'comfyui' ? comfy : webui);
  const asksToDraw = api === 'comfyui' ? 'POST /prompt' : 'POST /sdapi/v1/txt2img';

  it('draws each image with its own seed, the steps and the LoRA of the job', async () => {
    const { craft, kinds, engine: name } = await engine(api);
    const images = await craft.render(work({ seeds: [7, 8, 9] }), NEVER);
    expect(images.map(colour)).toEqual([7, 8, 9].map((seed) => [seed, 50, 28]));
    expect(images.map(({ width, height, rgb }) => [width, height, rgb.length])).toEqual(
      Array(3).fill([64, 64, 64 * 64 * 3]),
    );
    expect([name, kinds]).toEqual(['flux', ['lora-inference']]);
  });

  it('draws a size between two multiples of 16 with the next one, and cuts it to what was asked', async () => {
    const { craft } = await engine(api);
    const [image] = await craft.render(work({ width: 65, height: 100 }), NEVER);
    expect([image!.width, image!.height, image!.rgb.length]).toEqual([65, 100, 65 * 100 * 3]);
    const { json } = server().last(asksToDraw);
    expect(JSON.stringify(json)).toMatch(/"width":80/);
    expect(JSON.stringify(json)).toMatch(/"height":112/);
  });

  it('puts a LoRA into the folder once, under its hash, and finds it again', async () => {
    const { craft } = await engine(api);
    await Promise.all([craft.render(work(), NEVER), craft.render(work({ seeds: [6] }), NEVER)]);
    const path = join(loraDir, `${sha256(LORA)}.safetensors`);
    expect(await loraFiles()).toEqual([`${sha256(LORA)}.safetensors`]);
    expect(await readFile(path)).toEqual(LORA);
    const { ino } = await stat(path);
    await craft.render(work(), NEVER);
    expect((await stat(path)).ino).toBe(ino);
  });

  it('refuses an image of another size, naming both', async () => {
    const { craft } = await engine(api);
    server().size = { width: 32, height: 64 };
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/it is 32×64, not the 64×64 that were asked for/);
  });

  it('does not read a reply that is longer than such an image can be', async () => {
    const { craft } = await engine(api);
    const bytes = Buffer.alloc(16 * 1024 * 1024);
    server().instead.set(api === 'comfyui' ? 'GET /view' : asksToDraw, { bytes });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/is longer than the \d+ bytes that it can need/);
  });

  it('refuses what is no image', async () => {
    const { craft } = await engine(api);
    const garbage = Buffer.from('<html>bad gateway</html>');
    if (api === 'comfyui') comfy.instead.set('GET /view', { bytes: garbage });
    else webui.instead.set(asksToDraw, { json: { images: [garbage.toString('base64')] } });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/the image cannot be handed in: /);
  });

  it('says where it looked when the server is down, and draws when it is back', async () => {
    const { port } = new URL(server().url);
    await server().close();
    const { craft } = await engine(api);
    await expect(craft.render(work(), NEVER)).rejects.toThrow(
      new RegExp(`at http://127.0.0.1:${port} has not answered .*ECONNREFUSED.*: is it running, and is MINER_HTTP_URL`),
    );
    await server().listen(Number(port));
    expect(await craft.render(work(), NEVER)).toHaveLength(1);
  });

  it('says so when the address is that of another program', async () => {
    const { craft } = await engine(api);
    const page = { bytes: Buffer.from('<!doctype html><title>router</title>') };
    server().instead.set(asksToDraw, page);
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/not JSON \(<!doctype html>.*is MINER_HTTP_URL/);
  });

  it('draws two jobs that come at once, each with its own seed', async () => {
    const { craft } = await engine(api);
    server().gate.shut();
    const both = [1, 2].map((seed) => craft.render(work({ seeds: [seed] }), NEVER));
    // ComfyUI has a queue; the web UI's lock would make an interrupt hit the wrong one, so the miner waits itself.
    await server().asked(asksToDraw, api === 'comfyui' ? 2 : 1);
    server().gate.open();
    expect((await Promise.all(both)).map(([image]) => colour(image!)[0])).toEqual([1, 2]);
  });

  it('stops the drawing of a job that is cancelled, and no other', async () => {
    const { craft } = await engine(api);
    server().gate.shut();
    const cancelled = new AbortController();
    const first = craft.render(work({ seeds: [1] }), cancelled.signal);
    await server().asked(asksToDraw);
    const second = craft.render(work({ seeds: [2] }), NEVER);
    if (api === 'comfyui') await comfy.asked(asksToDraw, 2);
    cancelled.abort('cancelled');
    await expect(first).rejects.toBe('cancelled');
    expect(server().interrupted).toHaveLength(1);
    server().gate.open();
    expect(colour((await second)[0]!)[0]).toBe(2);
    expect(server().interrupted).toHaveLength(1);
  });

  it('leaves what is being drawn alone when a job that waits is cancelled', async () => {
    const { craft } = await engine(api);
    comfy.readsPromptId = false;
    server().gate.shut();
    const first = craft.render(work({ seeds: [1] }), NEVER);
    await server().asked(asksToDraw);
    const cancelled = new AbortController();
    const second = craft.render(work({ seeds: [2] }), cancelled.signal);
    if (api === 'comfyui') await comfy.asked(asksToDraw, 2);
    cancelled.abort('cancelled');
    await expect(second).rejects.toBe('cancelled');
    server().gate.open();
    expect(colour((await first)[0]!)[0]).toBe(1);
    expect(server().interrupted).toEqual([]);
    expect(comfy.deleted).toHaveLength(api === 'comfyui' ? 1 : 0);
  });

  it('ends a drawing whose time is over, as if it had been cancelled', async () => {
    const { craft } = await engine(api);
    server().gate.shut();
    await expect(craft.render(work({ timeoutMs: 300 }), NEVER)).rejects.toThrow('not done within its 300 ms');
    expect(server().interrupted).toHaveLength(1);
  });

  it('hands in no image of a job when one of them fails', async () => {
    const { craft } = await engine(api);
    server().instead.set(asksToDraw, {
      status: 500,
      json: { error: 'OutOfMemoryError', errors: 'CUDA out of memory' },
    });
    await expect(craft.render(work({ seeds: [1, 2] }), NEVER)).rejects.toThrow(/with 500: .*CUDA out of memory/);
  });

  it('asks for a drawing once only: a request that got no answer may have been heard', async () => {
    const { craft } = await engine(api);
    await craft.render(work(), NEVER);
    server().hangUps.POST = 1;
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/has not answered POST /);
    expect(server().count(asksToDraw)).toBe(2);
  });

  it('gives the name and password that the server asks for', async () => {
    const { craft } = await engine(api, { MINER_HTTP_AUTH: 'miner:secret' });
    await craft.render(work(), NEVER);
    const expected = `Basic ${Buffer.from('miner:secret').toString('base64')}`;
    expect(new Set(server().calls.map(({ headers }) => headers.authorization))).toEqual(new Set([expected]));
    server().instead.set(asksToDraw, { status: 401, json: { detail: 'Incorrect username or password' } });
    await expect(craft.render(work(), NEVER)).rejects.toThrow('asks for a password: set MINER_HTTP_AUTH');
  });

  it('says that it does not train', async () => {
    const { craft } = await engine(api);
    const image = { rgb: new Uint8Array(3), width: 1, height: 1 };
    const training = craft.train({ image, steps: 1, rank: 1, seed: 1, timeoutMs: 1_000 }, NEVER);
    await expect(training).rejects.toThrow('does not train: set MINER_COMMAND_TRAIN');
  });
});

describe('ComfyUI', () => {
  it('is told which node of the workflow it refuses, and what to do', async () => {
    const { craft } = await engine('comfyui', { MINER_HTTP_LORA_DIR: await mkdtemp(join(loraDir, 'elsewhere-')) });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(
      /refused the workflow: node 2 LoraLoaderModelOnly: Value not in list: lora_name: .*is MINER_HTTP_LORA_DIR one of/,
    );
  });

  it('is quoted where no node is to blame', async () => {
    const { craft } = await engine('comfyui');
    const error = { type: 'prompt_no_outputs', message: 'Prompt has no outputs', details: '', extra_info: {} };
    comfy.instead.set('POST /prompt', { status: 400, json: { error, node_errors: [] } });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/refused the workflow: Prompt has no outputs\. Load/);
  });

  it('is quoted with the node at which it failed', async () => {
    const { craft } = await engine('comfyui');
    comfy.failure = {
      node_id: '7',
      node_type: 'KSampler',
      exception_type: 'torch.OutOfMemoryError',
      exception_message: 'Allocation on device',
    };
    await expect(craft.render(work(), NEVER)).rejects.toThrow(
      /failed at node 7 KSampler: torch\.OutOfMemoryError: Allocation on device/,
    );
  });

  it('is not waited for when it was restarted and knows nothing any more', async () => {
    const { craft } = await engine('comfyui');
    comfy.gate.shut();
    const drawing = craft.render(work(), NEVER);
    const ends = expect(drawing).rejects.toThrow(/has lost the drawing: was it restarted/);
    await comfy.asked('POST /prompt');
    comfy.restart();
    await ends;
  });

  it('may fail to answer a question or two while it draws', async () => {
    const { craft } = await engine('comfyui');
    comfy.gate.shut();
    const drawing = craft.render(work(), NEVER);
    await comfy.asked('POST /prompt');
    comfy.hangUps.GET = 2;
    comfy.gate.open();
    expect(await drawing).toHaveLength(1);
    expect(comfy.hangUps.GET).toBe(0);
  });

  it('does not hand in what somebody cancelled in its editor', async () => {
    const { craft } = await engine('comfyui');
    comfy.gate.shut();
    const ends = expect(craft.render(work(), NEVER)).rejects.toThrow(/was interrupted while it drew/);
    await comfy.asked('POST /prompt');
    comfy.cancelInEditor();
    await ends;
  });

  it('is refused a workflow that makes more than one image', async () => {
    const { craft } = await engine('comfyui');
    const images = [1, 2].map((i) => ({ filename: `${i}.png`, subfolder: '', type: 'output' }));
    comfy.gate.shut();
    comfy.instead.set('POST /prompt', { json: { prompt_id: 'x', number: 1, node_errors: {} } });
    comfy.instead.set('GET /history/x', {
      json: { x: { outputs: { 9: { images } }, status: { status_str: 'success' } } },
    });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/made 2 images, not 1/);
  });
});

describe('Automatic1111', () => {
  it('is told about a new LoRA once, and asked whether it sees it', async () => {
    const { craft } = await engine('automatic1111');
    await craft.render(work({ seeds: [1, 2] }), NEVER);
    await craft.render(work(), NEVER);
    expect(webui.count('POST /sdapi/v1/refresh-loras')).toBe(1);
    expect(webui.last('POST /sdapi/v1/txt2img').json).toMatchObject({ steps: 28, cfg_scale: 7, batch_size: 1 });
  });

  it('does not get to draw without a LoRA that it does not see', async () => {
    const { craft } = await engine('automatic1111', {
      MINER_HTTP_LORA_DIR: await mkdtemp(join(loraDir, 'elsewhere-')),
    });
    await expect(craft.render(work(), NEVER)).rejects.toThrow(/does not see the LoRA .*MINER_HTTP_LORA_DIR must be/);
    expect(webui.count('POST /sdapi/v1/txt2img')).toBe(0);
  });

  it('is named by what it lacks when it was started without --api', async () => {
    const { craft } = await engine('automatic1111');
    webui.instead.set('POST /sdapi/v1/txt2img', { status: 404, json: { detail: 'Not Found' } });
    await expect(craft.render(work(), NEVER)).rejects.toThrow('has no txt2img: was it started with --api?');
  });

  it("loads the job's LoRA and no other, whatever the prompt says", async () => {
    const { craft } = await engine('automatic1111');
    const piece = fc.constantFrom('<lora:', ':1', '>', '<<a:b>', 'lora:other:1>', 'hypernet:x', ' ', 'a cat');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const [image] = await craft.render(work({ prompt: pieces.join('') }), NEVER);
        expect(colour(image!)[1]).toBe(50);
        expect(webui.networks.at(-1)).toEqual([`${sha256(LORA)}:0.5`]);
      }),
      { numRuns: 40 },
    );
  });
});
