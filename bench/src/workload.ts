/** The benchmark's work: about 1 KB of JSON in, a 64 × 64 PNG out (performance.md). Everybody gets the same. */
import { parameterCount } from '@studio/ref-sep/adapter';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import type { SubmitJobBody } from '@studio/shared/contract/submit-job';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import sharp from 'sharp';

/** Pixels of a side. */
export const SIDE = 64;
/** Fills the body up to about 1 KB. */
const PROMPT_LENGTH = 800;
const PROMPT = 'a grey cat on a windowsill, evening light, '.repeat(20).slice(0, PROMPT_LENGTH);
const RANK = 4;

/** What a client sends. `seed` keeps the jobs apart. */
export function jobBody(loraUrl: string, seed: number): SubmitJobBody {
  const input = { lora_url: loraUrl, prompt: PROMPT, width: SIDE, height: SIDE, seed, num_images: 1 };
  return { kind: 'lora-inference', engine: 'ref-sep-v1', input };
}

/** What a miner is sent, for the contenders that have no orchestrator in between. */
export function minerRequest(jobId: string, seed: number): object {
  return {
    job_id: jobId,
    attempt: 1,
    kind: 'lora-inference',
    engine: 'ref-sep-v1',
    input: { lora: {}, prompt: PROMPT, width: SIDE, height: SIDE, seed, lora_scale: 1, warp: 0.25, num_images: 1 },
    timeout_ms: 10_000,
  };
}

/** A small LoRA that passes the checks; no training is needed, nobody renders with it. */
export function loraFile(): Uint8Array {
  const parameters = Float32Array.from({ length: parameterCount(RANK) }, (_, i) => 0.05 * Math.sin(i));
  const { tensors, metadata } = adapterToTensors({ rank: RANK, resolution: SIDE, parameters });
  return writeSafetensors(tensors, metadata);
}

/** A picture as an engine would make it: smooth, with some grain, about 6 KB. */
export async function picture(): Promise<Buffer> {
  const rgb = Buffer.alloc(SIDE * SIDE * 3);
  for (let i = 0; i < rgb.length; i += 1) {
    const pixel = Math.floor(i / 3);
    const [x, y] = [pixel % SIDE, Math.floor(pixel / SIDE)];
    rgb[i] = 128 + 90 * Math.sin((x + 20 * (i % 3)) / 11) * Math.cos(y / 9) + 8 * Math.sin(i * 12.9898);
  }
  return sharp(rgb, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}
