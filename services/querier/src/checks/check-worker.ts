/** Entry of the check threads: one exported function per task that check-pool.ts names. */
import sharp from 'sharp';
import { checkImage, type ImageExpectation } from './image-check';
import { checkLora, recogniseLora, type LoraExpectation } from './lora-check';
import { canonicalPhotograph, photographProblem } from './photograph';

// The pool has a thread per core already, and a file is never seen twice.
sharp.concurrency(1);
sharp.cache(false);

// image-format.ts goes by the first bytes; this holds even where libvips reads them in another way. Named are the others,
// not ours: the switch is the process's, and a thread that closed all would do so beneath the checks of the next one.
sharp.block({
  operation: ['Heif', 'Nsgif', 'Svg', 'Tiff', 'Uhdr', 'Vips'].map((format) => `VipsForeignLoad${format}`),
});

export const image = begins(({ bytes, expected }: { bytes: Uint8Array; expected: ImageExpectation }) =>
  checkImage(bytes, expected),
);

export const lora = begins(({ bytes, expected }: { bytes: Uint8Array; expected: LoraExpectation }) =>
  checkLora(bytes, expected),
);

export const photograph = begins(({ bytes, resolution }: { bytes: Uint8Array; resolution: number }) =>
  canonicalPhotograph(bytes, resolution),
);

export const photographUpload = begins(({ bytes }: { bytes: Uint8Array }) => photographProblem(bytes));

export const loraUpload = begins(({ bytes }: { bytes: Uint8Array }) => recogniseLora(bytes));

/** Tells the pool that the check has a thread: from now on its time counts. */
function begins<Task, Found>(check: (task: Task) => Found): (task: Task & { begun: Int32Array }) => Found {
  return (task) => {
    Atomics.store(task.begun, 0, 1);
    return check(task);
  };
}
