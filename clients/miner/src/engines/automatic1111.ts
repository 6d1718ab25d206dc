import { mostBytes } from './exact-image';
import { type Drawing, type DrawingSettings, GREET_MS, type ImageServer } from './http-craft';
import { type Exchange, quote } from './http-exchange';
import type { PlacedLora } from './lora-folder';
import { Turns } from './turns';

/** Base64 makes four bytes of three; beside the image the reply repeats the request and describes the drawing. */
const BASE64_SHARE = 4 / 3;
const REPLY_TEXT_BYTES = 1024 * 1024;
/** A listing with the metadata of each LoRA, of an operator who has thousands. */
const MAX_LISTING_BYTES = 256 * 1024 * 1024;
/** Stopping a drawing must not keep a miner from closing, which it does within five seconds. */
const INTERRUPT_MS = 2_000;

/** `<lora:name:1>`, `<hypernet:…>`: its grammar for "load this file as well", removed from the prompt before drawing. */
const EXTRA_NETWORK = /<\w+:[^>]+>/g;

/**
 * Draws with Automatic1111's web UI, started with --api, and what speaks like it (Forge, SD.Next).
 *
 * - `POST /sdapi/v1/txt2img` answers when the drawing is done. The server draws one at a time; so does this class, because
 *   `POST /sdapi/v1/interrupt` stops whatever is being drawn, and that must be ours.
 * - The LoRA is named in the prompt. A name that it does not know is drawn without, silently: so a new file is first
 *   announced (`POST /sdapi/v1/refresh-loras`) and looked up (`GET /sdapi/v1/loras`).
 * - Such names in a client's own prompt are taken out: the operator's other LoRAs, and other clients', are not theirs.
 */
export class Automatic1111 implements ImageServer {
  readonly name: string;
  private readonly turns = new Turns();
  /** Which edition of a LoRA file it has listed. */
  private readonly known = new Map<string, number>();

  constructor(
    private readonly exchange: Exchange,
    private readonly settings: DrawingSettings,
  ) {
    this.name = exchange.name;
  }

  async greet(): Promise<void> {
    await this.exchange.askJson({ method: 'GET', path: 'sdapi/v1/options', timeoutMs: GREET_MS });
  }

  draw(drawing: Drawing, signal: AbortSignal): Promise<Uint8Array> {
    return this.turns.take(signal, async () => {
      await this.announce(drawing.lora, signal);
      try {
        return await this.txt2img(drawing, signal);
      } catch (error) {
        // The next drawing waits until this one has been stopped: the interrupt cannot hit it.
        if (signal.aborted) await this.interrupt().catch(() => undefined);
        throw error;
      }
    });
  }

  private async txt2img(drawing: Drawing, signal: AbortSignal): Promise<Uint8Array> {
    const { width, height, seed } = drawing;
    const json = {
      prompt: promptOf(drawing),
      negative_prompt: '',
      seed,
      width,
      height,
      steps: this.settings.steps,
      cfg_scale: this.settings.guidance,
      batch_size: 1,
      n_iter: 1,
      send_images: true,
      save_images: false,
    };
    const maxBytes = Math.ceil(mostBytes(drawing) * BASE64_SHARE) + REPLY_TEXT_BYTES;
    const call = { method: 'POST', path: 'sdapi/v1/txt2img', json, maxBytes, signal, timeoutMs: undefined } as const;
    const answer = await this.exchange.ask(call);
    if (answer.status !== 200) throw new Error(this.complaint(answer.status, answer.body));
    const { images } = this.exchange.parse(call, answer.body) as { images?: unknown };
    const first: unknown = Array.isArray(images) && images.length === 1 ? images[0] : undefined;
    if (typeof first !== 'string')
      throw new Error(
        `${this.name} answers with ${Array.isArray(images) ? images.length : 'no list of'} images, not 1: ` +
          `does an extension add pictures of its own?`,
      );
    // Some servers answer with data URLs.
    return Buffer.from(first.slice(first.indexOf(',') + 1), 'base64');
  }

  /** @throws Error where the server does not see the file. */
  private async announce({ sha256, edition }: PlacedLora, signal: AbortSignal): Promise<void> {
    if (this.known.get(sha256) === edition) return;
    const refresh = { method: 'POST', path: 'sdapi/v1/refresh-loras', json: {}, signal } as const;
    this.exchange.expectOk(refresh, await this.exchange.ask(refresh));
    const listing = { method: 'GET', path: 'sdapi/v1/loras', maxBytes: MAX_LISTING_BYTES, signal } as const;
    const loras = await this.exchange.askJson(listing);
    const names = Array.isArray(loras) ? loras.map((lora) => (lora as { name?: unknown } | null)?.name) : [];
    if (!names.includes(sha256))
      throw new Error(
        `${this.name} does not see the LoRA ${sha256} among its ${names.length}: MINER_HTTP_LORA_DIR must be its LoRA ` +
          `folder (models/Lora, or its --lora-dir), and the file one for its model`,
      );
    this.known.set(sha256, edition);
  }

  private async interrupt(): Promise<void> {
    await this.exchange.ask({ method: 'POST', path: 'sdapi/v1/interrupt', json: {}, timeoutMs: INTERRUPT_MS });
  }

  /** `{error, detail, errors}` of the web UI, or `{detail}` of its framework. */
  private complaint(status: number, body: Buffer): string {
    if (status === 401) return `${this.name} asks for a password: set MINER_HTTP_AUTH=name:password`;
    if (status === 404) return `${this.name} has no txt2img: was it started with --api?`;
    return `${this.name} answers txt2img with ${status}: ${quote(words(body.toString('utf8')))}`;
  }
}

/** The job's LoRA as the only one; in front, where an open `<` of the prompt cannot swallow it. */
function promptOf({ prompt, lora, loraScale }: Drawing): string {
  return `<lora:${lora.sha256}:${loraScale}> ${withoutNetworks(prompt)}`;
}

/** Until none is left: taking one out can make another of what stood around it. */
function withoutNetworks(prompt: string): string {
  const cleaned = prompt.replace(EXTRA_NETWORK, '');
  return cleaned === prompt ? prompt : withoutNetworks(cleaned);
}

function words(body: string): string {
  try {
    const { error, errors, detail } = JSON.parse(body) as Record<string, unknown>;
    const said = [error, errors, detail].filter((part) => part !== undefined && part !== '');
    return said.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(': ') || body;
  } catch {
    return body;
  }
}
