#!/usr/bin/env node
/**
 * A program for MINER_ENGINE=command, to start from: it does what the built-in engine does, through stdin and files.
 * Exchange `train` and `render` for yours; in another language, keep the five steps. After `npm run build`:
 *
 *   MINER_ENGINE=command MINER_COMMAND_ENGINE=ref-sep-v1 \
 *   MINER_COMMAND_TRAIN='node clients/miner/examples/ref-sep-program.cjs' \
 *   MINER_COMMAND_RENDER='node clients/miner/examples/ref-sep-program.cjs' npm run miner
 */
const { readFileSync, writeFileSync } = require('node:fs');
const sharp = require('sharp');
const { adapterFromTensors, adapterToTensors } = require('@studio/ref-sep/adapter-tensors');
const { renderImage } = require('@studio/ref-sep/render');
const { trainAdapter } = require('@studio/ref-sep/train');
const { readSafetensors, writeSafetensors } = require('@studio/shared/protocol/safetensors');

async function main() {
  // 1. The job is one JSON object on stdin.
  const job = JSON.parse(readFileSync(0, 'utf8'));
  // 2. Its files are named by absolute paths, and 3. so is what is wanted of us.
  if (job.kind === 'lora-training') await train(job.input, job.output);
  else await render(job.input, job.output);
  // 4. Exit 0: the files are there. 5. Otherwise the last line on stderr says why not (below).
}

async function train({ image, resolution, steps, rank, seed }, output) {
  const rgb = await sharp(image).removeAlpha().toColourspace('srgb').raw().toBuffer();
  const task = { rgb, width: resolution, height: resolution, steps, rank, seed };
  const adapter = await trainAdapter(task, (done, all) => {
    // The miner logs these; every tenth part is often enough.
    if (done % Math.ceil(all / 10) === 0) process.stdout.write(`progress ${done}/${all}\n`);
  });
  const { tensors, metadata } = adapterToTensors(adapter);
  writeFileSync(output.lora, writeSafetensors(tensors, metadata));
}

async function render({ lora, prompt, width, height, seeds, lora_scale: scale, warp }, output) {
  const adapter = adapterFromTensors(readSafetensors(readFileSync(lora)));
  for (const [i, seed] of seeds.entries()) {
    const rgb = renderImage({ adapter, prompt, width, height, scale, warp, seed });
    await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(output.images[i]);
    process.stdout.write(`progress ${i + 1}/${seeds.length}\n`);
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n${error.message}\n`);
  process.exitCode = 1;
});
