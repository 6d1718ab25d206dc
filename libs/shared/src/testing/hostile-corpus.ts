/**
 * What a hostile server can do to an HTTP client, each with the limit that has to stop it. One table for the tests of the
 * egress client and for the process that has to outlive all of it.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import type { EgressCode } from '../platform/egress-error';
import { reply, replyAndEnd, replyAndReset, replyThenDrip, replyThenPour, type Behaviour } from './hostile-server';

export interface HostileCase {
  name: string;
  /** What ends it, in the words of docs/security.md. */
  stoppedBy: string;
  behaviour: Behaviour;
  /** The server speaks TLS. */
  tls?: boolean;
  /** The client speaks TLS. */
  https?: boolean;
  /** How the request ends; a number is the status of a reply that is read to its end. */
  outcome: EgressCode | number;
  /** Of a reply that is read. */
  body?: string;
  /** Where the case needs another cap than the rest. */
  maxBytes?: number;
}

/** What each case is asked with. */
export const HOSTILE_REQUEST = { method: 'GET', deadlineMs: 400, maxBytes: 1_000_000 } as const;

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const ZEROS = Buffer.alloc(10_000_000);
const encoded = (coding: string, bytes: Buffer): Behaviour =>
  reply(`${OK}content-encoding: ${coding}\r\ncontent-length: ${bytes.length}\r\n\r\n`, bytes);
const redirect = (location: string): Behaviour =>
  reply(`HTTP/1.1 302 Found\r\nlocation: ${location}\r\ncontent-length: 0\r\n\r\n`);

type Given = Partial<HostileCase> & Pick<HostileCase, 'name' | 'behaviour'>;

const stopped = (stoppedBy: string, outcome: HostileCase['outcome'], cases: Given[]): HostileCase[] =>
  cases.map((each) => ({ stoppedBy, outcome, ...each }));

const TIME = stopped('the total deadline', 'timeout', [
  { name: 'accepts and hangs', behaviour: () => undefined },
  { name: 'reads the request and hangs', behaviour: (socket: Socket) => void socket.resume() },
  { name: 'sends its head byte by byte (slowloris)', behaviour: replyThenDrip(OK, 'a: b\r\n') },
  {
    name: 'sends one byte an interval',
    behaviour: replyThenDrip(`${OK}content-length: 900000\r\n\r\n`, '.'),
  },
  {
    name: 'announces more than it sends, and waits',
    behaviour: reply(`${OK}content-length: 100\r\n\r\nhalf`),
  },
  {
    name: 'never ends the status line',
    behaviour: replyThenPour('HTTP/1.1 200 ', 'A'.repeat(10_000)),
  },
  { name: 'sends empty lines for ever', behaviour: replyThenPour('', '\r\n'.repeat(5_000)) },
  {
    name: 'gives early hints for ever',
    behaviour: replyThenDrip('', 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'),
  },
  {
    name: 'never ends a chunk extension',
    behaviour: replyThenPour(`${CHUNKED}5;a=`, 'x'.repeat(10_000)),
  },
  {
    name: 'accepts TLS and never shakes hands',
    behaviour: (socket: Socket) => void socket.resume(),
    https: true,
  },
]);

const SIZE = stopped('the cap on the body', 'too-large', [
  {
    name: 'sends an endless body',
    behaviour: replyThenPour(`${OK}\r\n`, ZEROS.subarray(0, 65_536)),
  },
  {
    name: 'sends endless chunks',
    behaviour: replyThenPour(CHUNKED, `10000\r\n${'z'.repeat(65_536)}\r\n`),
  },
  {
    name: 'sends a million chunks of one byte',
    maxBytes: 10_000,
    behaviour: replyThenPour(CHUNKED, '1\r\nx\r\n'.repeat(2_000)),
  },
  {
    name: 'announces an exabyte',
    behaviour: reply(`${OK}content-length: 1000000000000000000\r\n\r\n`),
  },
]);

const HEAD = stopped('the cap on headers', 'bad-reply', [
  { name: 'sends one header of 1 MiB', behaviour: reply(`${OK}a: ${'x'.repeat(1 << 20)}\r\n\r\n`) },
  { name: 'sends 100,000 headers', behaviour: reply(OK, 'a: b\r\n'.repeat(100_000), '\r\n') },
  { name: 'never ends its headers', behaviour: replyThenPour(`${OK}a: `, 'x'.repeat(10_000)) },
  {
    name: 'sends a bomb of trailers',
    behaviour: replyThenPour(`${CHUNKED}2\r\nok\r\n0\r\n`, 'a: b\r\n'.repeat(2_000)),
  },
]);

const ENCODING = stopped('identity asked for, everything else refused unread', 'bad-encoding', [
  { name: 'sends a gzip bomb', behaviour: encoded('gzip', gzipSync(ZEROS)) },
  { name: 'sends a brotli bomb', behaviour: encoded('br', brotliCompressSync(ZEROS)) },
  { name: 'chains encodings', behaviour: encoded('gzip, gzip', gzipSync(gzipSync(ZEROS))) },
  { name: 'hides a bomb behind identity', behaviour: encoded('identity, gzip', gzipSync(ZEROS)) },
]);

const SYNTAX = stopped('strict parsing', 'bad-reply', [
  { name: 'speaks HTTP/0.9', behaviour: replyAndEnd('<html>hello</html>') },
  { name: 'sends noise', behaviour: replyAndEnd(randomBytes(4_096)) },
  { name: 'sends a chunk without a length', behaviour: reply(`${CHUNKED}zz\r\nhello\r\n`) },
  { name: 'sends a chunk length beyond 64 bits', behaviour: reply(`${CHUNKED}${'F'.repeat(17)}\r\nhello`) },
  { name: 'sends a chunk longer than its length', behaviour: reply(`${CHUNKED}2\r\nhello\r\n`) },
  { name: 'splits its head with a bare line feed', behaviour: reply(`${OK}a: b\ncontent-length: 2\n\nok`) },
  { name: 'splits its head with a bare carriage return', behaviour: reply(`${OK}a: b\rset-cookie: c\r\n\r\n`) },
  { name: 'has two lengths', behaviour: reply(`${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nok.`) },
  {
    name: 'has a length and chunks',
    behaviour: reply(`${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
  },
  { name: 'has a length below zero', behaviour: reply(`${OK}content-length: -1\r\n\r\n`) },
  { name: 'folds a header', behaviour: reply(`${OK}a: b\r\n c\r\ncontent-length: 2\r\n\r\nok`) },
  { name: 'has a zero byte in a header', behaviour: reply(`${OK}a: b\0c\r\n\r\n`) },
  { name: 'answers TLS with HTTP', behaviour: replyAndEnd(`${OK}\r\n`), https: true },
  { name: 'answers TLS with noise', behaviour: replyAndEnd(randomBytes(4_096)), https: true },
]);

const BREAKS = stopped('the connection, which is not used again', 'network', [
  { name: 'closes before it replies', behaviour: (socket: Socket) => void socket.end() },
  { name: 'closes once it has read the request', behaviour: replyAndEnd() },
  { name: 'resets once it has read the request', behaviour: replyAndReset('') },
  { name: 'resets in the middle of the head', behaviour: replyAndReset(`${OK}a: b\r\n`) },
  { name: 'resets in the middle of the body', behaviour: replyAndReset(`${OK}content-length: 100\r\n\r\nhalf`) },
  { name: 'ends in the middle of the body', behaviour: replyAndEnd(`${OK}content-length: 100\r\n\r\nhalf`) },
  { name: 'ends in the middle of a chunk', behaviour: replyAndEnd(`${CHUNKED}64\r\nhalf`) },
  { name: 'says 100 Continue for ever', behaviour: replyThenDrip('', 'HTTP/1.1 100 Continue\r\n\r\n') },
  {
    name: 'switches protocols unasked',
    behaviour: reply('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
  },
]);

const HARMLESS = stopped('nothing is followed, nothing beyond the announced is read', 200, [
  {
    name: 'replies before it is asked',
    behaviour: (socket: Socket) => void socket.write(`${OK}content-length: 2\r\n\r\nno`),
    outcome: 200,
    body: 'no',
  },
  { name: 'redirects to loopback', behaviour: redirect('http://127.0.0.1:1/'), outcome: 302 },
  { name: 'redirects to the metadata service', behaviour: redirect('http://169.254.169.254/latest'), outcome: 302 },
  {
    name: 'sends more than it announced',
    behaviour: reply(`${OK}content-length: 2\r\n\r\nok and more`),
    outcome: 200,
    body: 'ok',
  },
  {
    name: 'sends a second response unasked',
    behaviour: reply(`${OK}content-length: 2\r\n\r\nok${OK}content-length: 4\r\n\r\nevil`),
    outcome: 200,
    body: 'ok',
  },
  { name: 'sends a body with 204', behaviour: reply('HTTP/1.1 204 No Content\r\n\r\nbody'), outcome: 204, body: '' },
]);

const CERTIFICATES: HostileCase[] = [
  {
    name: 'shows a certificate of its own',
    stoppedBy: 'certificates verified',
    behaviour: reply(`${OK}content-length: 2\r\n\r\nok`),
    tls: true,
    https: true,
    outcome: 'bad-certificate',
  },
];

export const HOSTILE_CASES: readonly HostileCase[] = [
  ...TIME,
  ...SIZE,
  ...HEAD,
  ...ENCODING,
  ...SYNTAX,
  ...BREAKS,
  ...HARMLESS,
  ...CERTIFICATES,
];
