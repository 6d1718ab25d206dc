import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { chainWeights } from '@studio/shared/domain/weights';

export interface Comparison {
  vectors: number;
  /** At most ten are told. */
  mismatches: string[];
}

const MOST_TOLD = 10;

/**
 * Holds our weights against those of another implementation, one vector a line: the shares as hexadecimal float64 (big endian, 16
 * digits each) separated by blanks, a bar, and `index:u16` of each weight that is sent.
 * @throws SyntaxError for a line of another form, naming it.
 */
export async function compareWeights(lines: Readable, onVector: (count: number) => void): Promise<Comparison> {
  const found: Comparison = { vectors: 0, mismatches: [] };
  for await (const line of createInterface({ input: lines, crlfDelay: Infinity })) {
    if (line === '') continue;
    found.vectors += 1;
    const [shares, theirs] = readVector(line, found.vectors);
    const { weights } = chainWeights(shares);
    const ours = weights.map(({ index, u16 }) => `${index}:${u16}`).join(' ');
    if (ours !== theirs && found.mismatches.length < MOST_TOLD) {
      found.mismatches.push(`vector ${found.vectors}: theirs ${theirs}, ours ${ours}, of ${shares.join(' ')}`);
    }
    onVector(found.vectors);
  }
  return found;
}

const view = new DataView(new ArrayBuffer(8));

function readVector(line: string, number: number): [shares: number[], weights: string] {
  const form = /^((?:[0-9a-f]{16} ?)*)\|((?: ?\d+:\d+)*)$/.exec(line);
  if (!form) throw new SyntaxError(`line ${number} is no vector: ${line.slice(0, 80)}`);
  const words = (form[1] ?? '').trim().split(' ').filter(Boolean);
  const shares = words.map((word) => {
    view.setBigUint64(0, BigInt(`0x${word}`));
    return view.getFloat64(0);
  });
  return [shares, (form[2] ?? '').trim()];
}
