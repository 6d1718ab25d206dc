import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DrawExportRow } from '@studio/shared/contract/draws';
import { exportInFile, exportOfRegistry, type OpenedExport } from './export-reader';
import { anyExport, type HonestExport } from './honest-export.rig';
import { Unreadable } from './unreadable';

const [{ header, rows }] = fc.sample(anyExport(), { numRuns: 1, seed: 7 }) as [HonestExport];
const LINES = [header, ...rows].map((line) => JSON.stringify(line));
const TEXT = `${LINES.join('\n')}\n`;

let dir: string;
let server: Server;
let url: string;
let answer: (request: IncomingMessage, reply: ServerResponse) => void;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'draws-'));
  server = createServer((request, reply) => answer(request, reply));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true });
});

async function all({ rows: lines }: OpenedExport): Promise<DrawExportRow[]> {
  const read: DrawExportRow[] = [];
  for await (const row of lines) read.push(row);
  return read;
}

async function inFile(text: string): Promise<DrawExportRow[]> {
  await writeFile(join(dir, 'draws.ndjson'), text);
  return all(await exportInFile(join(dir, 'draws.ndjson')));
}

const fromRegistry = async (): Promise<DrawExportRow[]> => all(await exportOfRegistry(url, header.epoch));

/** What follows the job `after`, the header before it, as the registry answers. */
function linesAfter(request: IncomingMessage): string[] {
  const after = new URL(request.url ?? '', url).searchParams.get('after');
  return [LINES[0]!, ...LINES.slice(1).filter((_, index) => after === null || rows[index]!.job_id > after)];
}

describe('a file', () => {
  it('gives every row, with or without the last end of line', async () => {
    expect(await inFile(TEXT)).toEqual(rows);
    expect(await inFile(TEXT.slice(0, -1))).toEqual(rows);
  });

  it('that is cut off anywhere after its header is refused, naming how many rows it has', async () => {
    const cut = fc.integer({ min: LINES[0]!.length + 1, max: TEXT.length - 2 });
    await fc.assert(
      fc.asyncProperty(cut, async (length) => {
        const text = TEXT.slice(0, length);
        // A row is whole without the end of its line, too.
        const whole = text.split('\n').filter((line) => LINES.includes(line) && line !== '').length - 1;
        await expect(inFile(text)).rejects.toThrow(`ends after ${whole} of ${rows.length} rows: it is cut off`);
      }),
    );
  });

  it.each([
    ['no export', '{"hello": 1}\n', 'its first line is no header'],
    ['no JSON', 'epoch,rows\n1,2\n', 'its first line is no header'],
    ['empty', '', 'its first line is no header'],
    ['cut off within its header', TEXT.slice(0, 40), 'its first line is no header'],
    ['without the policy', TEXT.replace('"probationJobs":2', '"probationJobs":"two"'), 'its first line is no header'],
    ['with a line that is no row', TEXT.replace(LINES[3]!, '{"job_id":7}'), 'line 4 of'],
  ])('that is %s is refused', async (_what, text, message) => {
    const reading = inFile(text);
    await expect(reading).rejects.toThrow(Unreadable);
    await expect(reading).rejects.toThrow(message);
  });

  it.each(Object.keys(rows.find(({ q }) => q !== null)!))('with a row that lacks its %s is refused', async (field) => {
    const at = rows.findIndex(({ q }) => q !== null);
    const lacking = JSON.stringify({ ...rows[at], [field]: undefined });
    const reading = inFile(TEXT.replace(LINES[at + 1]!, lacking));
    if (['engine', 'attempt', 'latency_us'].includes(field)) await expect(reading).resolves.toHaveLength(rows.length);
    else await expect(reading).rejects.toThrow(`line ${at + 2} of`);
  });

  it('that is not there is named', async () => {
    await expect(exportInFile(join(dir, 'none'))).rejects.toThrow(/there is no file .*none: give the export's path/);
  });
});

describe('a registry', () => {
  it('whose connections break is read on where it broke, every row once', async () => {
    let requests = 0;
    answer = (request, reply) => {
      requests += 1;
      const lines = linesAfter(request);
      const some = lines
        .slice(0, 8)
        .map((line) => `${line}\n`)
        .join('');
      if (lines.length <= 8) reply.end(some);
      else reply.write(`${some}{"job_id":"cut`, () => reply.destroy());
    };
    expect(await fromRegistry()).toEqual(rows);
    // One for the header.
    expect(requests).toBe(1 + Math.ceil(rows.length / 7));
  });

  it('is not kept waiting between the header and the rows', async () => {
    const gone = new Promise((resolve) => {
      answer = (_request, reply) => {
        reply.once('close', resolve);
        reply.write(TEXT.slice(0, -100));
      };
    });
    const opened = await exportOfRegistry(url, header.epoch);
    await gone;
    answer = (_request, reply) => void reply.end(TEXT);
    expect(await all(opened)).toEqual(rows);
  });

  it('that breaks off without a row more is given up', async () => {
    answer = (request, reply) => {
      const some = linesAfter(request).slice(0, request.url!.includes('after=') ? 1 : 4);
      reply.write(`${some.join('\n')}\n`, () => reply.destroy());
    };
    await expect(fromRegistry()).rejects.toThrow(`ends after 3 of ${rows.length} rows`);
  });

  it('whose export is another one after a break is refused', async () => {
    answer = (request, reply) => {
      const other = JSON.stringify({ ...header, rows: 1_000 });
      if (request.url!.includes('after=')) reply.end(`${other}\n`);
      else reply.write(`${LINES.slice(0, 4).join('\n')}\n`, () => reply.destroy());
    };
    await expect(fromRegistry()).rejects.toThrow('changed while it was read: try again');
  });

  it('that refuses is quoted', async () => {
    answer = (_request, reply) => {
      const error = { code: 'NOT_FINISHED', message: 'epoch 3 is open: wait', fields: [] };
      reply.writeHead(409, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
    };
    await expect(fromRegistry()).rejects.toThrow('the registry answers 409 NOT_FINISHED: epoch 3 is open: wait');
  });

  it('that is none is told from one', async () => {
    answer = (_request, reply) => void reply.writeHead(404).end('<html>');
    await expect(fromRegistry()).rejects.toThrow('answers 404: it is no registry that publishes draws');
    await expect(exportOfRegistry('http://127.0.0.1:9', 1)).rejects.toThrow(/does not answer .*give another/);
  });
});
