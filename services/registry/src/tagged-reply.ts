/** Replies that a reader who has them already need not get again (RFC 9110, conditional requests). */
import type { FastifyReply } from 'fastify';
import { sha256Hex } from '@studio/shared/protocol/canonical';

export interface Tagged {
  /** JSON. */
  body: string;
  /** Strong, in its quotes. */
  etag: string;
}

/** 128 bits: no two bodies of one orchestrator will ever have the same. */
const ETAG_DIGITS = 32;

export function tagged(value: unknown): Tagged {
  const body = JSON.stringify(value);
  return { body, etag: `"${sha256Hex(body).slice(0, ETAG_DIGITS)}"` };
}

/**
 * 304 without a body where the reader knows it, else 200 with it.
 * @param known the request's If-None-Match.
 * @param cacheControl by default a cache has to ask each time whether it is still so.
 */
export function answerTagged(
  reply: FastifyReply,
  known: string | undefined,
  { body, etag }: Tagged,
  cacheControl = 'no-cache',
): void {
  void reply.header('etag', etag).header('cache-control', cacheControl);
  if (known !== undefined && isKnown(known, etag)) void reply.status(304).send();
  else void reply.header('content-type', 'application/json; charset=utf-8').send(body);
}

/** A comparison for reading is weak: a proxy that compresses marks the tag with W/. */
function isKnown(known: string, etag: string): boolean {
  return known.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}
