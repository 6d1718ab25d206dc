import { mkdir, mkdtemp, readFile, readdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Tells a program, and whoever finds it later, to which folder it belongs. */
export const WORK_DIR_VARIABLE = 'JOB_WORK_DIR';

/** `<process id of the miner>-<random>`. */
const NAME = /^(\d+)-/;

/** Folders in use by this process, whichever object made them. */
const inUse = new Set<string>();

/**
 * A fresh folder for each run of a program, removed with everything in it when the run is over. What a killed miner left
 * behind is removed when the next one starts, and on Linux its programs are ended first: found by the folder's name in
 * their environment, since a process id alone may mean another program by now.
 */
export class WorkFolders {
  private constructor(private readonly root: string) {}

  static async open(root: string): Promise<WorkFolders> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    // Absolute and without links: programs run elsewhere.
    const folders = new WorkFolders(await realpath(root));
    await folders.sweep();
    return folders;
  }

  async use<T>(act: (folder: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(this.root, `${process.pid}-`));
    inUse.add(folder);
    try {
      return await act(folder);
    } finally {
      inUse.delete(folder);
      // Retried: on some file systems a file that was still being written reappears.
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }
  }

  private async sweep(): Promise<void> {
    for (const name of await readdir(this.root)) {
      const owner = Number(NAME.exec(name)?.[1]);
      const folder = join(this.root, name);
      if (!owner || inUse.has(folder) || (owner !== process.pid && isAlive(owner))) continue;
      await endProgramsOf(folder);
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }
  }
}

async function endProgramsOf(folder: string): Promise<void> {
  const processes = await readdir('/proc').catch(() => []);
  for (const id of processes.filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${id}/environ`, 'latin1').catch(() => '');
    if (environment.split('\0').includes(`${WORK_DIR_VARIABLE}=${folder}`)) kill(Number(id), 'SIGKILL');
  }
}

/** Signals a process, or with a negative id a group; whether there was one. */
export function kill(id: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(id, signal);
  } catch {
    return false;
  }
}

function isAlive(id: number): boolean {
  return kill(id, 0);
}
