/**
 * What canaries are made from: photographs and prompts of an operator's choice, read once at the start. A file that cannot
 * be used is named with its remedy and left out; without a corpus no canaries are made, and nothing else is affected.
 *
 *     photograph-1.jpg, anything.png, …   photographs (png, jpg, webp)
 *     prompts.txt                         one prompt a line; blank lines and lines that begin with # are left out
 *     loras.txt                           optional: SHA-256 of LoRAs that were uploaded (POST /v1/artifacts), one a line
 */
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Logger } from 'pino';
import { MAX_PROMPT_LENGTH } from '@studio/shared/contract/submit-job';
import { openPhotograph } from './derive';

export interface Corpus {
  /** Files that could be opened. */
  photographs: readonly string[];
  prompts: readonly string[];
  /** SHA-256 of uploaded LoRAs. */
  loras: readonly string[];
}

type Log = Pick<Logger, 'info' | 'warn'>;

const PHOTOGRAPHS = new Set(['.png', '.jpg', '.jpeg', '.webp']);

/** Files opened at a time: each may take a decoded photograph's memory. */
const OPENED_AT_ONCE = 2;

const REMEDY = 'give CANARY_CORPUS a directory with photographs (png, jpg, webp) and prompts.txt, or unset it';

/** Never fails: what is wrong is logged, and left out. */
export async function readCorpus(directory: string, log: Log): Promise<Corpus> {
  const names = await readdir(directory).catch(() => undefined);
  if (!names) {
    log.warn(`no canaries: CANARY_CORPUS is ${directory}, which is not a directory that can be read; ${REMEDY}`);
    return { photographs: [], prompts: [], loras: [] };
  }
  const files = names
    .filter((name) => PHOTOGRAPHS.has(extname(name).toLowerCase()))
    .map((name) => join(directory, name));
  const photographs = await usable(files.sort(), log);
  const prompts = (await lines(join(directory, 'prompts.txt'))).filter((prompt) => prompt.length <= MAX_PROMPT_LENGTH);
  const loras = namesOfLoras(await lines(join(directory, 'loras.txt')), directory, log);
  if (photographs.length === 0) {
    log.warn(`no canaries for training: ${directory} has no photograph that can be used; ${REMEDY}`);
  }
  if (prompts.length === 0) log.warn(`no canaries for inference: ${directory}/prompts.txt has no prompt; ${REMEDY}`);
  log.info(
    { photographs: photographs.length, prompts: prompts.length, loras: loras.length },
    'corpus of canaries read',
  );
  return { photographs, prompts, loras };
}

async function usable(files: readonly string[], log: Log): Promise<string[]> {
  const queue = [...files];
  const good = new Set<string>();
  const drain = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      try {
        await openPhotograph(file);
        good.add(file);
      } catch (error) {
        log.warn(`no canaries from ${file}: it ${(error as Error).message}; replace or remove it`);
      }
    }
  };
  await Promise.all(Array.from({ length: OPENED_AT_ONCE }, drain));
  return files.filter((file) => good.has(file));
}

/** A file that is not there has no lines. */
async function lines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const all = text.split(/\r?\n/).map((line) => line.trim());
  return all.filter((line) => line !== '' && !line.startsWith('#'));
}

function namesOfLoras(names: readonly string[], directory: string, log: Log): string[] {
  const isHash = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);
  const [wrong] = names.filter((name) => !isHash(name));
  if (wrong !== undefined) {
    log.warn(`${directory}/loras.txt: ${JSON.stringify(wrong)} is no SHA-256; write 64 lowercase hex digits a line`);
  }
  return names.filter(isHash);
}
