/** A line of text becomes one of the export's, or is refused: the file may be any file, the registry anybody's. */
import {
  EXPORT_FORMAT,
  EXPORT_KINDS,
  type ExportedDraw,
  type ExportHead,
  type ExportHeader,
  type ExportLine,
  type SignedHead,
} from '@studio/shared/contract/exports';
import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { isHeader as isDrawHeader, isObject, isPolicy, isRow, type Unknown } from '../verify-draws/export-lines';
import { Unreadable } from '../verify-draws/unreadable';

export type ReadLine = ExportLine | SignedHead;

/** What each line has to be like for the checks to work on it. What it says is for them to judge. */
const FORMS = {
  header: isHeader,
  event: isEvent,
  draws: isDrawHeader,
  draw: isDraw,
  snapshot: isSnapshot,
} as const satisfies Record<string, (value: never) => boolean>;

/** @param place of the line, for the message. @throws Unreadable */
export function readLine(text: string, place: string): ReadLine {
  const value = parsed(text);
  const [name, ...others] = Object.keys(value ?? {}) as (keyof typeof FORMS)[];
  if (value && isSignedHead(value)) return value as unknown as SignedHead;
  if (!value || !name || others.length > 0 || !Object.hasOwn(FORMS, name)) {
    throw new Unreadable(`${place} is no line of an export: fetch it again from the registry`);
  }
  const content = (value as Record<string, unknown>)[name];
  if (name === 'header') requireKnownFormat(content, place);
  if (!isObject(content) || !FORMS[name](content)) {
    throw new Unreadable(`${place} is no ${name} of an export: fetch it again from the registry`);
  }
  return value as ExportLine;
}

/** @throws Unreadable */
export function readSignedHead(text: string, place: string): SignedHead {
  const line = parsed(text);
  if (line && isSignedHead(line)) return line as unknown as SignedHead;
  throw new Unreadable(`${place} is no signed head: get one from GET /v1/exports/{kind}/{name}/head of a registry`);
}

function requireKnownFormat(header: unknown, place: string): void {
  const { format } = (header ?? {}) as Unknown<ExportHeader>;
  if (typeof format !== 'number' || format === EXPORT_FORMAT) return;
  throw new Unreadable(`${place}: the export has format ${format}, this program reads ${EXPORT_FORMAT}: update it`);
}

export function parsed(text: string): object | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isSeq = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
const isText = (value: unknown): boolean => typeof value === 'string';
const isHash = (value: unknown): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const isKind = (value: unknown): boolean => (EXPORT_KINDS as readonly unknown[]).includes(value);

function isHeader({ kind, name, from_seq: from, to_seq: to, policies }: Unknown<ExportHeader>): boolean {
  return (
    isKind(kind) && isText(name) && isSeq(from) && isSeq(to) && Array.isArray(policies) && policies.every(isPolicy)
  );
}

function isEvent({ seq, type, epoch, at }: Unknown<ScoreEvent>): boolean {
  return isSeq(seq) && isText(type) && isSeq(epoch) && isText(at);
}

function isDraw(row: Unknown<ExportedDraw>): boolean {
  const { timeout_ms: timeout, latency_us: latency, engine } = row;
  return isRow(row) && isText(engine) && typeof latency === 'number' && (timeout === null || isSeq(timeout));
}

function isSnapshot({ epoch, policy, miners, draw, metagraph }: Unknown<Snapshot>): boolean {
  return isSeq(epoch) && isObject(policy) && Array.isArray(miners) && isObject(draw) && isMetagraph(metagraph);
}

function isMetagraph(metagraph: unknown): boolean {
  return metagraph === null || (isObject(metagraph) && isObject((metagraph as Unknown<{ uids: object }>).uids));
}

function isSignedHead({ head, signature }: Unknown<SignedHead>): boolean {
  return isObject(head) && isText(signature) && isHead(head);
}

function isHead(head: Unknown<ExportHead>): boolean {
  const { kind, name, from_seq: from, to_seq: to, lines, root, previous, signer } = head;
  const isNamed = isKind(kind) && isText(name) && isText(signer);
  return isNamed && isSeq(from) && isSeq(to) && isSeq(lines) && isHash(root) && isHash(previous);
}
