/** JSON from strangers: small, and not nested so deeply that whoever walks through it runs out of stack. */
import type { EgressReply } from './egress';
import { EgressError } from './egress-error';

export interface JsonLimits {
  maxBytes?: number;
  /** Arrays and objects inside each other. */
  maxDepth?: number;
}

/** security.md: JSON 256 KiB. */
const MAX_BYTES = 256 * 1024;
/** No answer that we ask for nests deeper than ten; validators and loggers recurse some frames per level. */
const MAX_DEPTH = 32;

/** Reads the reply to its end. @throws EgressError: `too-large`, `bad-reply`, and what reading itself meets */
export async function readJson(
  reply: EgressReply,
  { maxBytes = MAX_BYTES, maxDepth = MAX_DEPTH }: JsonLimits = {},
): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of reply.body) {
    bytes += chunk.byteLength;
    // Leaving the loop ends the connection.
    if (bytes > maxBytes) throw new EgressError('too-large', `the JSON of the reply is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks);
  if (depth(text) > maxDepth)
    throw new EgressError('bad-reply', `the JSON of the reply nests deeper than ${maxDepth} levels`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (error) {
    throw new EgressError('bad-reply', 'the reply is not JSON in UTF-8', { cause: error });
  }
}

const [QUOTE, ESCAPE] = [0x22, 0x5c];
const OPENING = new Set([0x5b, 0x7b]); // [ {
const CLOSING = new Set([0x5d, 0x7d]); // ] }

/** How deep it goes, before anything is parsed. Wrong for what is not JSON, which the parser then refuses. */
function depth(text: Uint8Array): number {
  let open = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const byte = text[at]!;
    if (inString) {
      if (byte === ESCAPE) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (OPENING.has(byte)) deepest = Math.max(deepest, (open += 1));
    else if (CLOSING.has(byte)) open -= 1;
  }
  return deepest;
}
