/** The export of an epoch's draws, from a file or from a registry, read once and line by line. */
import { createReadStream } from 'node:fs';
import type { DrawExportHeader, DrawExportRow } from '@studio/shared/contract/draws';
import { reasonOf } from '../request-failure';
import { readHeader, readRow } from './export-lines';
import { Unreadable } from './unreadable';

export interface OpenedExport {
  header: DrawExportHeader;
  rows: AsyncGenerator<DrawExportRow>;
}

/** Longest silence of a registry that is sending: it reads the next thousand rows in milliseconds. */
const SILENCE_MS = 30_000;

const NO_DRAWS = 'it is no registry that publishes draws; give another with --registry';

/** A header names every rewritten record of its epoch; a row has some 500 characters. */
const LONGEST_LINE = 16 * 1_024 * 1_024;

/** @throws Unreadable */
export function exportInFile(path: string): Promise<OpenedExport> {
  return opened(path, () => linesOf(createReadStream(path)), false);
}

/** Goes on where it was when the connection breaks, as long as each goes further than the last. @throws Unreadable */
export function exportOfRegistry(registryUrl: string, epoch: number): Promise<OpenedExport> {
  const url = new URL(`/v1/epochs/${epoch}/draws`, registryUrl).href;
  return opened(url, (after) => linesOf(bodyOf(after === undefined ? url : `${url}?after=${after}`)), true);
}

type Open = (after?: string) => AsyncGenerator<string>;

/** The header's connection is closed again: what else has to be read before the rows may take longer than it would stay open. */
async function opened(from: string, open: Open, resumable: boolean): Promise<OpenedExport> {
  const lines = open();
  try {
    const header = await headerOf(lines, from);
    return { header, rows: rowsOf({ from, open, header, resumable }) };
  } catch (error) {
    throw unreadable(from, error);
  } finally {
    await lines.return(undefined);
  }
}

async function headerOf(lines: AsyncGenerator<string>, from: string): Promise<DrawExportHeader> {
  const first = await lines.next();
  return readHeader(first.done ? '' : first.value, from);
}

interface Reading {
  from: string;
  open: Open;
  header: DrawExportHeader;
  resumable: boolean;
}

async function* rowsOf({ from, open, header, resumable }: Reading): AsyncGenerator<DrawExportRow> {
  let last: string | undefined;
  for (let count = 0; ;) {
    const before = count;
    const lines = open(last);
    let broken: unknown;
    try {
      requireSame(await headerOf(lines, from), header, from);
      for await (const line of lines) {
        const row = readRow(line, count + 2, from);
        count += 1;
        last = row.job_id;
        yield row;
      }
    } catch (error) {
      if (error instanceof Unreadable) throw error;
      broken = error;
    } finally {
      await lines.return(undefined);
    }
    if (count >= header.rows) return;
    if (!resumable || count === before) throw cutOff(from, `${count} of ${header.rows} rows`, broken);
  }
}

function requireSame(again: DrawExportHeader, { epoch, rows, secret }: DrawExportHeader, from: string): void {
  if (again.epoch === epoch && again.rows === rows && again.secret === secret) return;
  throw new Unreadable(`${from} changed while it was read: try again`);
}

function cutOff(from: string, read: string, cause: unknown): Unreadable {
  const why = cause instanceof Error ? ` (${cause.message})` : '';
  return new Unreadable(`${from} ends after ${read}${why}: it is cut off; read it again from the registry`, { cause });
}

function unreadable(from: string, error: unknown): Unreadable {
  if (error instanceof Unreadable) return error;
  const { message, code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new Unreadable(`there is no file ${from}: give the export's path to --file`);
  return new Unreadable(`${from} cannot be read: ${message}`, { cause: error });
}

/** Every whole line; a last one without its end is left out, unless nothing of it is missing. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_LINE) throw new RangeError(`a line is longer than ${LONGEST_LINE} characters`);
    yield* lines;
  }
  if (isWhole(rest)) yield rest;
}

function isWhole(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** @param otherwise what to say of a server that answers, but not as a registry does. */
export async function* bodyOf(url: string, otherwise = NO_DRAWS): AsyncGenerator<Uint8Array> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error(`nothing came for ${SILENCE_MS / 1_000} s`)), SILENCE_MS);
  try {
    const reply = await fetch(url, { signal: silence.signal, redirect: 'error' }).catch((error: Error) => {
      throw new Unreadable(
        `${url} does not answer (${reasonOf(error)}): see that the registry runs, or give another with --registry`,
      );
    });
    if (!reply.ok) throw new Unreadable(refusal(url, reply.status, await reply.text(), otherwise));
    for await (const chunk of (reply.body ?? []) as AsyncIterable<Uint8Array>) {
      timer.refresh();
      yield chunk;
      timer.refresh();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** In the registry's own words, which name the remedy. */
function refusal(url: string, status: number, text: string, otherwise: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: string; message?: string } };
    if (error?.message) return `the registry answers ${status} ${error.code ?? ''}: ${error.message}`;
  } catch {
    // Not ours.
  }
  return `${url} answers ${status}: ${otherwise}`;
}
