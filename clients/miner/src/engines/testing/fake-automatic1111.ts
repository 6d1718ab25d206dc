/**
 * Stands in for Automatic1111's web UI: its HTTP contract as modules/api/api.py and the built-in Lora extension have it
 * (one drawing at a time behind a lock, an interrupt for whatever is being drawn, LoRA files known from the last listing
 * of their folder, an unknown one left out without a word). It draws one colour.
 */
import { readdirSync } from 'node:fs';
import { FakeServer, type FakeReply, Gate, type SeenCall, fakePng } from './fake-server';

const NETWORK = /<(\w+):([^>]+)>/g;

export class FakeAutomatic1111 extends FakeServer {
  readonly gate = new Gate();
  /** Seeds whose drawing was stopped, and the networks of each drawing, as the prompt's grammar reads them. */
  readonly interrupted: number[] = [];
  readonly networks: string[][] = [];
  size?: { width: number; height: number };
  private lock: Promise<unknown> = Promise.resolve();
  private drawing?: { seed: number; stop: () => void } | undefined;
  private loras: string[];

  constructor(private readonly loraDir: string) {
    super();
    this.loras = this.list();
  }

  protected reply({ what, json }: SeenCall): FakeReply | Promise<FakeReply> {
    switch (what) {
      case 'GET /sdapi/v1/options':
        return { json: { samples_format: 'png' } };
      case 'POST /sdapi/v1/refresh-loras':
        this.loras = this.list();
        return { json: null };
      case 'GET /sdapi/v1/loras':
        return { json: this.loras.map((name) => ({ name, alias: name, path: name, metadata: {} })) };
      case 'POST /sdapi/v1/interrupt':
        if (this.drawing) this.interrupted.push(this.drawing.seed);
        this.drawing?.stop();
        return { json: {} };
      case 'POST /sdapi/v1/txt2img':
        return this.txt2img(json);
      default:
        return { status: 404, json: { detail: 'Not Found' } };
    }
  }

  private txt2img(json: Record<string, unknown>): Promise<FakeReply> {
    const answer = this.lock.then(() => this.draw(json as never));
    this.lock = answer.catch(() => undefined);
    return answer;
  }

  private async draw(json: {
    prompt: string;
    seed: number;
    width: number;
    height: number;
    steps: number;
  }): Promise<FakeReply> {
    const { prompt, seed, steps } = json;
    const found = [...prompt.matchAll(NETWORK)].map(([, , values]) => values!);
    this.networks.push(found);
    const known = found.map((values) => values.split(':')).find(([name]) => this.loras.includes(name!));
    const stopped = new Promise<void>((stop) => (this.drawing = { seed, stop }));
    await Promise.race([this.gate.passed(), stopped]);
    this.drawing = undefined;
    const { width, height } = this.size ?? json;
    const image = await fakePng({ width, height, seed, steps, loraScale: known ? Number(known[1]) : 0 });
    return { json: { images: [image.toString('base64')], parameters: json, info: '{}' } };
  }

  private list(): string[] {
    return readdirSync(this.loraDir).flatMap((file) => /^(.+)\.safetensors$/.exec(file)?.[1] ?? []);
  }
}
