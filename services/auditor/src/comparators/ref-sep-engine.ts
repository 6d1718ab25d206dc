import { adapterFromTensors } from '@studio/ref-sep/adapter-tensors';
import { renderImage } from '@studio/ref-sep/render';
import { readSafetensors } from '@studio/shared/protocol/safetensors';
import type { TrustedEngine } from './functional';

/** `ref-sep-v1` in this process: 13 ms for 64², nothing to download. The LoRA was checked before it was stored. */
export const refSepEngine: TrustedEngine = {
  render(lora, { seed, side, warp }) {
    const adapter = adapterFromTensors(readSafetensors(lora));
    const rgb = renderImage({ adapter, scale: 1, prompt: '', seed, warp, width: side, height: side });
    return { rgb, width: side, height: side };
  },
};
