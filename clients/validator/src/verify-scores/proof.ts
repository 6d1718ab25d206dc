/** That one event is in an export: made from the whole file, checked by anybody with nothing but the proof. */
import type { ExportLine, InclusionProof, SignedHead } from '@studio/shared/contract/exports';
import { isIncluded, leafHash, pathThroughTiles, TILE_LEAVES, type GrowingTree } from '@studio/shared/protocol/merkle';
import { isSignedHead } from '@studio/shared/protocol/merkle-head';
import { isObject, type Unknown } from '../verify-draws/export-lines';
import { Unreadable } from '../verify-draws/unreadable';
import { parsed, readLine, readSignedHead } from './read-line';

/** Keeps the hashes of the one tile that the event is in. */
export class ProofMaker {
  private count = 0;
  private found: { index: number; leaf: string } | undefined;
  private hashes: Buffer[] = [];

  constructor(private readonly seq: number) {}

  add(line: ExportLine, text: string): void {
    if (this.count % TILE_LEAVES === 0 && !this.found) this.hashes = [];
    if ('event' in line && line.event.seq === this.seq) this.found = { index: this.count, leaf: text };
    if (!this.found || this.hashes.length < TILE_LEAVES) this.hashes.push(leafHash(text));
    this.count += 1;
  }

  /** @throws Unreadable when the event is not in the export. */
  proof(tree: GrowingTree, { head, signature }: SignedHead): InclusionProof {
    if (!this.found)
      throw new Unreadable(`event ${this.seq} is not in this export: it has ${head.from_seq} to ${head.to_seq}`);
    const { index, leaf } = this.found;
    const path = pathThroughTiles(tree.tiles(), this.hashes, index).map((hash) => hash.toString('hex'));
    return { leaf_index: index, leaf, path, head, signature };
  }
}

export interface ProofReport {
  ok: boolean;
  problems: string[];
  proof: InclusionProof;
}

/** @param text JSON of an InclusionProof. @throws Unreadable */
export function checkProof(text: string, from: string, registryKey?: string): ProofReport {
  const proof = readProof(text, from);
  const { head, signature, leaf, leaf_index: index, path } = proof;
  const line = readLine(leaf, `the leaf of ${from}`);
  const problems = [
    !isSignedHead(head, signature) && `signature is not one of ${head.signer} over this head`,
    registryKey !== undefined && head.signer !== registryKey && `signer is ${head.signer}, not ${registryKey}`,
    !('event' in line && line.event.seq === head.from_seq + index - 1) &&
      `leaf is not event ${head.from_seq + index - 1}`,
    !isIncluded(leafHash(leaf), {
      index,
      size: head.lines,
      path: path.map((hash) => Buffer.from(hash, 'hex')),
      root: Buffer.from(head.root, 'hex'),
    }) && `path does not lead from leaf ${index} of ${head.lines} to the root ${head.root}`,
  ].filter((problem) => problem !== false);
  return { ok: problems.length === 0, problems, proof };
}

function readProof(text: string, from: string): InclusionProof {
  const value: Unknown<InclusionProof> | undefined = parsed(text);
  const { leaf, leaf_index: index, path } = value ?? {};
  const isPath = Array.isArray(path) && path.every((hash) => typeof hash === 'string');
  if (!value || typeof leaf !== 'string' || !Number.isSafeInteger(index) || !isPath || !isObject(value.head)) {
    throw new Unreadable(`${from} is no inclusion proof: make one with --proof, or get one from a registry`);
  }
  readSignedHead(JSON.stringify({ head: value.head, signature: value.signature }), from);
  return value as InclusionProof;
}
