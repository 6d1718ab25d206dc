/** A request taken apart: its form, the same for all that differ in values alone, and its values, each under a name. */
import type { Exchange } from './wire-tap';

export type Value = string | number;

export interface TakenApart {
  /** Request line, header names in order and case, keys of the JSON in order, each with what its value looks like. */
  form: string;
  /** `header.x-studio-nonce`, `input.seed`, `callback.url`, … */
  values: Map<string, Value>;
}

/** What values look like, the most particular first. */
const LOOKS: readonly [name: string, pattern: RegExp][] = [
  ['uuid', /^[0-9a-f]{8}-[0-9a-f]{4}-([1-8])[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/],
  ['hex', /^(?:0x)?[0-9a-f]{32,}$/],
  ['hotkey', /^5[1-9A-HJ-NP-Za-km-z]{46,47}$/],
  ['digits', /^\d+$/],
];

export function takeApart({ head, body }: Exchange): TakenApart {
  const values = new Map<string, Value>();
  const [start = '', ...lines] = head.split('\r\n');
  const headers = lines.map((line) => {
    const [, name = '', space = '', value = ''] = /^([^:]*):( *)(.*)$/.exec(line) ?? [];
    values.set(`header.${name.toLowerCase()}`, value);
    return `${name}:${space}${looksLike(value)}`;
  });
  const [method = '', path = '', version = ''] = start.split(' ');
  const json = JSON.parse(body.toString('utf8')) as unknown;
  const isCompact = JSON.stringify(json) === body.toString('utf8');
  const content = formOf(json, [], values);
  return { form: [`${method} ${path} ${version}`, ...headers, isCompact, content].join('\n'), values };
}

export function headerNames(head: string): string {
  return head
    .split('\r\n')
    .map((line, index) => (index === 0 ? line : line.split(':', 1)[0]))
    .join('|');
}

function formOf(value: unknown, path: readonly string[], values: Map<string, Value>): string {
  if (Array.isArray(value))
    return `[${value.map((item, index) => formOf(item, [...path, String(index)], values)).join()}]`;
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).map(([key, item]) => `${key}: ${formOf(item, [...path, key], values)}`);
    return `{${fields.join(', ')}}`;
  }
  if (typeof value === 'number' || typeof value === 'string') values.set(path.join('.'), value);
  if (typeof value !== 'string') return value === null ? 'null' : typeof value;
  return URL.canParse(value) ? urlForm(value) : looksLike(value);
}

function urlForm(text: string): string {
  const { protocol, host, pathname, search } = new URL(text);
  const parts = pathname.split('/').map((part) => (part === '' || !/\d/.test(part) ? part : looksLike(part)));
  const query = [...new URLSearchParams(search)].map(([name, value]) => `${name}=${looksLike(value)}`);
  return `${protocol}//${host}${parts.join('/')}?${query.join('&')}`;
}

/** Lengths count where they are fixed; a word without any of these looks is shown where it is one of few. */
function looksLike(text: string): string {
  for (const [name, pattern] of LOOKS) {
    const [, version = ''] = pattern.exec(text) ?? [undefined];
    if (!pattern.test(text)) continue;
    return name === 'digits' ? name : `${name}${version}(${text.length})`;
  }
  return /^[\w./;=-]+$/.test(text) ? text : 'text';
}
