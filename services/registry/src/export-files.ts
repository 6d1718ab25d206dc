import { pipeline, Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { ExportHead, ExportKind, InclusionProof, SignedHead } from '@studio/shared/contract/exports';
import { StudioError } from '@studio/shared/domain/errors';
import type { Logger } from '@studio/shared/platform/logger';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import { GrowingTree, leafHash, pathThroughTiles, rootOf, TILE_LEAVES } from '@studio/shared/protocol/merkle';
import type { ExportLines } from './export-lines';
import { rangeOf } from './export-range';
import type { ExportStore } from './export.store';

/** A seventh of the lines' bytes; higher levels cost twice the time for two per cent less. */
const GZIP_LEVEL = 6;

const HASH_BYTES = 32;

export interface ExportFile {
  /** What it should be saved as. */
  name: string;
  root: string;
  body: Readable;
}

/** Signed exports for whoever wants them. Between two pages a reader holds nothing of the database. */
export class ExportFiles {
  private readonly closing = new AbortController();

  constructor(
    private readonly store: Pick<ExportStore, 'find' | 'list' | 'tiles'>,
    private readonly lines: ExportLines,
    private readonly log: Pick<Logger, 'error'>,
  ) {}

  readonly list: ExportStore['list'] = (query) => this.store.list(query);

  /** Ends every reader, so that the server can close. */
  close(): void {
    this.closing.abort();
  }

  /** @throws StudioError NOT_FOUND */
  async head(kind: ExportKind, name: string): Promise<SignedHead> {
    const found = await this.store.find(kind, name);
    if (found !== null) return found;
    const which = name === 'latest' ? `no ${kind} is exported yet` : `there is no export of ${kind} ${name} (yet)`;
    throw new StudioError('NOT_FOUND', `${which}: GET /v1/exports?kind=${kind} lists those there are`);
  }

  /** The compressed lines, the signed head as the last. @throws StudioError NOT_FOUND before the first byte. */
  async open(kind: ExportKind, name: string): Promise<ExportFile> {
    const signed = await this.head(kind, name);
    const source = Readable.from(this.text(signed), { highWaterMark: 1, signal: this.closing.signal });
    const body = createGzip({ level: GZIP_LEVEL });
    // Whoever reads sees the end of it: a stream that breaks has nobody else to tell.
    pipeline(source, body, () => undefined);
    return { name: `${kind}-${signed.head.name}.ndjson.gz`, root: signed.head.root, body };
  }

  /** @throws StudioError NOT_FOUND */
  async proof(kind: ExportKind, name: string, seq: number): Promise<InclusionProof> {
    const signed = await this.head(kind, name);
    const { head } = signed;
    if (seq < head.from_seq || seq > head.to_seq) {
      const held = `events ${head.from_seq} to ${head.to_seq}`;
      throw new StudioError('NOT_FOUND', `event ${seq} is not in the export of ${kind} ${head.name}: it has ${held}`);
    }
    // The header is leaf 0.
    const index = seq - head.from_seq + 1;
    const tile = Math.floor(index / TILE_LEAVES);
    const lines = await this.linesOfTile(head, tile);
    const hashes = lines.map(leafHash);
    const tiles = split(await this.store.tiles(head));
    if (!tiles[tile]?.equals(rootOf(hashes))) throw this.changed(head);
    const path = pathThroughTiles(tiles, hashes, index).map((hash) => hash.toString('hex'));
    return { leaf_index: index, leaf: lines[index % TILE_LEAVES] ?? '', path, ...signed };
  }

  private async *text(signed: SignedHead): AsyncGenerator<string> {
    const tree = new GrowingTree();
    for await (const page of this.lines.pages(rangeOf(signed.head))) {
      for (const line of page) tree.add(leafHash(line));
      yield page.map((line) => `${line}\n`).join('');
    }
    if (tree.root().toString('hex') !== signed.head.root) throw this.changed(signed.head);
    yield `${canonicalJson(signed)}\n`;
  }

  private async linesOfTile(head: ExportHead, tile: number): Promise<string[]> {
    const first = tile * TILE_LEAVES;
    const lines: string[] = [];
    for await (const page of this.lines.pages(rangeOf(head), first === 0 ? undefined : head.from_seq + first - 1)) {
      lines.push(...page);
      if (lines.length >= TILE_LEAVES) break;
    }
    return lines.slice(0, TILE_LEAVES);
  }

  /** Rows were changed by somebody who may do what the services may not, or another version of this code writes other lines. */
  private changed({ kind, name }: ExportHead): StudioError {
    this.log.error({ kind, name }, 'the lines of an export are not those that were signed: examine the database');
    return new StudioError('INTERNAL', `the export of ${kind} ${name} is not what was signed any more`);
  }
}

function split(tiles: Buffer): Buffer[] {
  const count = tiles.length / HASH_BYTES;
  return Array.from({ length: count }, (_, index) => tiles.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES));
}
