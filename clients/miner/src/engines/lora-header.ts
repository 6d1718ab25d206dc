import { MAX_HEADER_BYTES } from '@studio/shared/protocol/safetensors';

const LENGTH_BYTES = 8;

/**
 * That a trainer's file is a whole `.safetensors`: its header can be read, names tensors, and ends where the file ends.
 * Only the header, because a LoRA can have half a gigabyte and the miner has others to answer; the orchestrator reads
 * every number. A torn file is told to the operator here, as a failure, instead of costing an invalid result.
 *
 * @throws Error beginning with `whose`.
 */
export function assertWholeLora(file: Buffer, whose: string): void {
  const fault = faultOf(file);
  if (fault) throw new Error(`${whose} is no .safetensors file: ${fault}`);
}

function faultOf(file: Buffer): string | undefined {
  if (file.length < LENGTH_BYTES) return 'it is shorter than a header';
  const length = file.readBigUInt64LE();
  if (length > BigInt(MAX_HEADER_BYTES) || length > BigInt(file.length - LENGTH_BYTES))
    return `its header claims ${length} bytes`;
  const end = LENGTH_BYTES + Number(length);
  const header = parse(file.toString('utf8', LENGTH_BYTES, end));
  if (!header) return 'its header is no JSON object';
  const ends = Object.entries(header).flatMap(([name, tensor]) => (name === '__metadata__' ? [] : [endOf(tensor)]));
  if (ends.length === 0) return 'it has no tensors';
  const data = file.length - end;
  const last = Math.max(...ends);
  return last === data ? undefined : `its tensors need ${last} bytes, and it has ${data}`;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const header: unknown = JSON.parse(text);
    return typeof header === 'object' && header !== null ? (header as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** NaN where it has none: no file is that long. */
function endOf(tensor: unknown): number {
  const offsets = (tensor as { data_offsets?: unknown } | null)?.data_offsets;
  return Array.isArray(offsets) ? Number(offsets[1]) : NaN;
}
