import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Workflow, type WorkflowValues, fillWorkflow } from './comfyui-workflow';
import { type PictureRef, type WhatCame, readEntry, refusal } from './comfyui-answers';
import { mostBytes } from './exact-image';
import { type Drawing, type DrawingSettings, GREET_MS, type ImageServer } from './http-craft';
import type { Exchange } from './http-exchange';

/** On the same machine or network, a question of a millisecond; a drawing takes seconds. */
const POLL_MS = 100;
/** How many questions after "is it done?" follows "do you still know it?": about every two seconds. */
const POLLS_PER_QUEUE_LOOK = 20;
/** Taking a drawing back must not keep a miner from closing, which it does within five seconds. */
const CANCEL_MS = 1_000;

/**
 * Draws with ComfyUI: `POST /prompt` queues the filled workflow, `GET /history/{id}` has an entry when it is done,
 * `GET /view` gives the file. The server works on one prompt at a time and keeps a queue of its own, so that jobs are
 * handed over as they come.
 *
 * Done is found out by asking, not by its WebSocket: events are sent once, to one connection, so that whoever loses the
 * connection has to ask anyway; the history is the same after that. Asking costs a drawing at most POLL_MS.
 */
export class ComfyUi implements ImageServer {
  readonly name: string;
  private readonly clientId = randomUUID();

  constructor(
    private readonly exchange: Exchange,
    private readonly workflow: Workflow,
    private readonly settings: DrawingSettings,
  ) {
    this.name = exchange.name;
  }

  async greet(): Promise<void> {
    await this.exchange.askJson({ method: 'GET', path: 'queue', timeoutMs: GREET_MS });
  }

  async draw(drawing: Drawing, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    // Not ended by `signal`: without the answer there would be no name to take the drawing back by.
    const id = await this.submit(drawing);
    try {
      const picture = await this.finished(id, signal);
      return await this.fetch(picture, drawing, signal);
    } catch (error) {
      await this.takeBack(id).catch(() => undefined);
      throw error;
    }
  }

  private async submit(drawing: Drawing): Promise<string> {
    const prompt = fillWorkflow(this.workflow, this.values(drawing));
    const call = { method: 'POST', path: 'prompt', json: { prompt, client_id: this.clientId } } as const;
    const answer = await this.exchange.ask(call);
    if (answer.status === 400)
      throw new Error(refusal(this.name, this.exchange.parse(call, answer.body), drawing.lora));
    const { prompt_id: id } = this.exchange.parse(call, this.exchange.expectOk(call, answer)) as {
      prompt_id?: unknown;
    };
    if (typeof id !== 'string') throw new Error(`${this.name} accepts a prompt without naming it: is it ComfyUI?`);
    return id;
  }

  /** Resolves with the picture's place. @throws Error where the server failed, was interrupted, or forgot it. */
  private async finished(id: string, signal: AbortSignal): Promise<PictureRef> {
    for (let polls = 1; ; polls++) {
      const before = polls % POLLS_PER_QUEUE_LOOK === 0 ? await this.isQueued(id, signal) : true;
      const done = await this.lookUp(id, signal);
      if (done) return pictureOf(done, this.name);
      // Asked in this order: a prompt goes from the queue into the history in one step.
      if (!before) throw new Error(`${this.name} has lost the drawing: was it restarted, or its queue cleared?`);
      await sleep(POLL_MS, undefined, { signal });
    }
  }

  private async lookUp(id: string, signal: AbortSignal): Promise<WhatCame | undefined> {
    return readEntry(
      await this.exchange.askJson({ method: 'GET', path: `history/${encodeURIComponent(id)}`, signal }),
      id,
    );
  }

  private async isQueued(id: string, signal: AbortSignal): Promise<boolean> {
    const { running, pending } = await this.queue(signal);
    return running.includes(id) || pending.includes(id);
  }

  private async fetch({ filename, subfolder, type }: PictureRef, size: Drawing, signal: AbortSignal): Promise<Buffer> {
    const query = new URLSearchParams({ filename, subfolder, type });
    const call = { method: 'GET', path: `view?${query.toString()}`, maxBytes: mostBytes(size), signal } as const;
    return this.exchange.expectOk(call, await this.exchange.ask(call));
  }

  /**
   * Out of the queue, and interrupted where it was running already. `/interrupt` stops whatever runs in versions that do
   * not read its `prompt_id`: it is only called while ours is what runs.
   */
  private async takeBack(id: string): Promise<void> {
    const post = (path: string, json: object) =>
      this.exchange.ask({ method: 'POST', path, json, timeoutMs: CANCEL_MS });
    await post('queue', { delete: [id] });
    const { running } = await this.queue(undefined, CANCEL_MS);
    if (running.includes(id)) await post('interrupt', { prompt_id: id });
  }

  /** The ids in `GET /queue`: each entry is [number, id, prompt, …]. */
  private async queue(signal?: AbortSignal, timeoutMs?: number): Promise<{ running: unknown[]; pending: unknown[] }> {
    const bounds = { ...(signal && { signal }), ...(timeoutMs && { timeoutMs }) };
    const answer = (await this.exchange.askJson({ method: 'GET', path: 'queue', ...bounds })) as Record<
      string,
      unknown
    >;
    const ids = (list: unknown): unknown[] =>
      Array.isArray(list) ? list.map((entry) => (Array.isArray(entry) ? (entry[1] as unknown) : undefined)) : [];
    return { running: ids(answer.queue_running), pending: ids(answer.queue_pending) };
  }

  private values({ prompt, seed, width, height, lora, loraScale, warp }: Drawing): WorkflowValues {
    return { prompt, seed, width, height, lora_name: lora.file, lora_scale: loraScale, warp, ...this.settings };
  }
}

function pictureOf(came: WhatCame, name: string): PictureRef {
  if ('failure' in came) throw new Error(`${name} ${came.failure}`);
  const saved = came.pictures.filter(({ type }) => type === 'output');
  // A preview is as good as a saved file where there is no saved one.
  const pictures = saved.length > 0 ? saved : came.pictures;
  if (pictures.length !== 1)
    throw new Error(
      `${name}: the workflow made ${pictures.length} images, not 1: it needs one PreviewImage or SaveImage, and batch size 1`,
    );
  return pictures[0]!;
}
