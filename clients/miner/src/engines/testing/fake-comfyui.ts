/**
 * Stands in for ComfyUI, which needs a GPU and gigabytes of weights: its HTTP contract as its server.py and execution.py
 * have it (queue of one worker, validation with node_errors, history by prompt id, files by /view). It draws one colour.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { FakeServer, type FakeReply, Gate, type SeenCall, fakePng } from './fake-server';

type Node = { class_type: string; inputs: Record<string, unknown> };
type Prompt = Record<string, Node>;
interface Queued {
  id: string;
  prompt: Prompt;
  interrupted: boolean;
}

const KNOWN = new Set(
  (
    'CheckpointLoaderSimple LoraLoaderModelOnly CLIPTextEncode FluxGuidance EmptySD3LatentImage KSampler VAEDecode ' +
    'PreviewImage SaveImage'
  ).split(' '),
);

export class FakeComfyUi extends FakeServer {
  readonly gate = new Gate();
  /** Ids that were stopped by /interrupt, and ids that were taken out of the queue. */
  readonly interrupted: string[] = [];
  readonly deleted: string[] = [];
  /** Until 2025-08 /interrupt did not read its prompt_id. */
  readsPromptId = true;
  /** What execution reports instead of a picture. */
  failure?: { node_id: string; node_type: string; exception_type: string; exception_message: string };
  /** Of the picture, instead of what was asked for. */
  size?: { width: number; height: number };
  private running?: Queued | undefined;
  private pending: Queued[] = [];
  private history: Record<string, unknown> = {};
  private readonly files = new Map<string, Buffer>();

  constructor(private readonly loraDir: string) {
    super();
  }

  /** As if the process had been started again: queue and history are in memory. */
  restart(): void {
    [this.running, this.pending, this.history] = [undefined, [], {}];
  }

  /** As if somebody had pressed cancel in its editor. */
  cancelInEditor(): void {
    this.interrupt();
  }

  protected reply({ what, json }: SeenCall, url: URL): FakeReply {
    if (what === 'POST /prompt') return this.prompt(json.prompt as Prompt);
    if (what === 'GET /queue')
      return { json: { queue_running: this.entries([this.running]), queue_pending: this.entries(this.pending) } };
    if (what === 'POST /queue') return this.remove((json.delete ?? []) as string[]);
    if (what === 'POST /interrupt') return this.interrupt(json.prompt_id as string | undefined);
    if (what === 'GET /view') return this.view(url.searchParams.get('filename')!);
    const id = /^GET \/history\/(.+)$/.exec(what)?.[1];
    if (id === undefined) return { status: 404, bytes: Buffer.from('404: Not Found') };
    return { json: id in this.history ? { [id]: this.history[id] } : {} };
  }

  private prompt(prompt: Prompt): FakeReply {
    const unknown = Object.entries(prompt).find(([, { class_type: type }]) => !KNOWN.has(type));
    if (unknown) {
      const details = `Node ID '#${unknown[0]}'`;
      const message = `Cannot execute because node ${unknown[1].class_type} does not exist.`;
      return { status: 400, json: { error: { type: 'invalid_prompt', message, details }, node_errors: {} } };
    }
    const loras = readdirSync(this.loraDir).filter((file) => file.endsWith('.safetensors'));
    const [id, loader] = find(prompt, 'LoraLoaderModelOnly');
    const name = loader.inputs.lora_name as string;
    if (!loras.includes(name)) return notInList(id, loader, name, loras);
    const queued = { id: randomUUID(), prompt, interrupted: false };
    this.pending.push(queued);
    void this.work();
    return { json: { prompt_id: queued.id, number: 1, node_errors: {} } };
  }

  private async work(): Promise<void> {
    if (this.running) return;
    const job = (this.running = this.pending.shift());
    if (!job) return;
    await this.gate.passed();
    // A restart or an interrupt while it waited.
    if (this.running !== job) return;
    if (!job.interrupted) await this.draw(job);
    this.running = undefined;
    void this.work();
  }

  private async draw({ id, prompt }: Queued): Promise<void> {
    const [, sampler] = find(prompt, 'KSampler');
    const [, latent] = find(prompt, 'EmptySD3LatentImage');
    const [, loader] = find(prompt, 'LoraLoaderModelOnly');
    const [output, { class_type: sink }] = find(prompt, 'PreviewImage', 'SaveImage');
    if (this.failure) {
      const messages = [
        ['execution_start', { prompt_id: id }],
        ['execution_error', { prompt_id: id, ...this.failure, traceback: [] }],
      ];
      this.history[id] = { outputs: {}, status: { status_str: 'error', completed: false, messages } };
      return;
    }
    const file = { filename: `${id}_00001_.png`, subfolder: '', type: sink === 'SaveImage' ? 'output' : 'temp' };
    const { width, height } = this.size ?? (latent.inputs as { width: number; height: number });
    const { seed, steps } = sampler.inputs as { seed: number; steps: number };
    const loraScale = loader.inputs.strength_model as number;
    this.files.set(file.filename, await fakePng({ width, height, seed, loraScale, steps }));
    const status = { status_str: 'success', completed: true, messages: [['execution_success', { prompt_id: id }]] };
    this.history[id] = { outputs: { [output]: { images: [file] } }, status };
  }

  private interrupt(id?: string): FakeReply {
    const job = this.running;
    if (!job || (this.readsPromptId && id !== undefined && id !== job.id)) return {};
    this.interrupted.push(job.id);
    job.interrupted = true;
    const messages = [['execution_interrupted', { prompt_id: job.id }]];
    this.history[job.id] = { outputs: {}, status: { status_str: 'error', completed: false, messages } };
    this.running = undefined;
    void this.work();
    return {};
  }

  private remove(ids: string[]): FakeReply {
    this.deleted.push(...this.pending.filter(({ id }) => ids.includes(id)).map(({ id }) => id));
    this.pending = this.pending.filter(({ id }) => !ids.includes(id));
    return {};
  }

  private view(filename: string): FakeReply {
    const bytes = this.files.get(filename);
    return bytes ? { bytes } : { status: 404, bytes: Buffer.alloc(0) };
  }

  private entries(jobs: (Queued | undefined)[]): unknown[] {
    return jobs.filter((job) => job !== undefined).map(({ id, prompt }) => [1, id, prompt, {}, []]);
  }
}

function find(prompt: Prompt, ...types: string[]): [string, Node] {
  return Object.entries(prompt).find(([, { class_type: type }]) => types.includes(type))!;
}

function notInList(id: string, node: Node, name: string, loras: string[]): FakeReply {
  const details = `lora_name: '${name}' not in ${JSON.stringify(loras)}`;
  const errors = [{ type: 'value_not_in_list', message: 'Value not in list', details, extra_info: {} }];
  const error = {
    type: 'prompt_outputs_failed_validation',
    message: 'Prompt outputs failed validation',
    details: `Value not in list: ${details}`,
    extra_info: {},
  };
  const nodeErrors = { [id]: { errors, dependent_outputs: ['9'], class_type: node.class_type } };
  return { status: 400, json: { error, node_errors: nodeErrors } };
}
