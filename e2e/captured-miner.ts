/**
 * A miner whose wire is tapped, and that is as curious as it can be: it fetches every input at once, whether it has it already
 * or not, and looks at how it is served.
 */
import { get, type IncomingMessage } from 'node:http';
import { freePort } from '@studio/launcher/servers/free-port';
import type { MinerJobRequest } from '@studio/shared/contract/miner-job';
import type { LiveMiner } from './live-system';
import { nowMs, targetOf, WireTap, type Exchange } from './wire-tap';

export interface Download {
  status: number;
  /** Names and values in turn, as they came. */
  rawHeaders: readonly string[];
  bytes: number;
  tookMs: number;
}

/** A request for work, with what the miner found out by itself. */
export interface AskedJob {
  exchange: Exchange;
  request: MinerJobRequest;
  download: Promise<Download>;
}

export class CapturedMiner {
  readonly asked: AskedJob[] = [];
  tap!: WireTap;

  private constructor(
    readonly live: LiveMiner,
    readonly operator: string,
  ) {}

  static async open(miner: LiveMiner): Promise<CapturedMiner> {
    const port = await freePort();
    const captured: CapturedMiner = new CapturedMiner({ ...miner, port }, miner.operator ?? miner.name);
    captured.tap = await WireTap.listen(port, (exchange) => captured.hear(exchange));
    captured.live.endpoint = captured.tap.url;
    return captured;
  }

  get cancels(): Exchange[] {
    return this.tap.exchanges.filter((exchange) => targetOf(exchange).startsWith('DELETE '));
  }

  close(): Promise<void> {
    return this.tap.close();
  }

  private hear(exchange: Exchange): void {
    if (targetOf(exchange) !== 'POST /v1/jobs') return;
    const request = JSON.parse(exchange.body.toString('utf8')) as MinerJobRequest;
    const { url } = 'image' in request.input ? request.input.image : request.input.lora;
    this.asked.push({ exchange, request, download: download(url) });
  }
}

async function download(url: string): Promise<Download> {
  const startMs = nowMs();
  const reply = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, { agent: false }, resolve).on('error', reject),
  );
  let bytes = 0;
  for await (const chunk of reply as AsyncIterable<Buffer>) bytes += chunk.length;
  return { status: reply.statusCode ?? 0, rawHeaders: reply.rawHeaders, bytes, tookMs: nowMs() - startMs };
}
