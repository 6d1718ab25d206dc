/** Entry of the process that is fed: a crash of a decoder ends it, and not the one that reports. */
import { fuzz, type FuzzReport, type FuzzTask } from './run';

export type ChildMessage = { fed: number } | { report: FuzzReport };

const tell = (message: ChildMessage): void => void process.send!(message);

/** So often is told how far it is. */
const TELL_EVERY = 200;

async function serve(task: FuzzTask): Promise<void> {
  let count = 0;
  const report = await fuzz(task, (more) => {
    count += more;
    if (count % TELL_EVERY === 0) tell({ fed: count });
  });
  tell({ report });
  process.disconnect();
}

process.once('message', (task: FuzzTask) => {
  serve(task).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  });
});
