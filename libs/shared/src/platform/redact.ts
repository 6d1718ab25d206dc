/**
 * What may never be read in a log line or an error message: keys, secrets, signatures and clients' prompts.
 * Two nets, because either alone leaks: fields are judged by name at any depth, text by what secrets look like.
 */

export const REDACTED = '[redacted]';

/** Matched anywhere in a name, without case, dashes and underscores: `x-api-key`, `callbackSecret`, `DB_PASSWORD`. */
const SECRET_WORDS =
  /secret|password|passwd|passphrase|authorization|cookie|signature|credential|apikey|privatekey|secretkey|signingkey|token|prompt|mnemonic|seedhex/;
/** Too short to look for inside other words (`key` is in `monkey`, `sig` in `signal`). */
const SECRET_NAMES = new Set([
  'key',
  'keys',
  'sig',
  'jwt',
  'auth',
  'hmac',
  'nkey',
  'adminkey',
  'clientkey',
  'hotkeyseed',
]);

/** Deeper than any message of ours; a cyclic object ends here instead of overflowing the stack. */
const MAX_DEPTH = 8;

const TEXT_PATTERNS: readonly (readonly [RegExp, string])[] = [
  // user:password@ in a URL
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:@/"\\]*):[^\s@/"\\]+@/gi, `$1:${REDACTED}@`],
  [/\b(Bearer|Basic|Epistula|Key)\s+[A-Za-z0-9._~+/=-]{16,}/g, `$1 ${REDACTED}`],
  // sr25519 and ed25519 signatures: 64 bytes in hex
  [/\b0x[0-9a-f]{128}\b/gi, REDACTED],
  // signed URLs
  [/([?&](?:sig|signature|token|key|secret)=)[^\s&"\\]+/gi, `$1${REDACTED}`],
];

export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[-_]/g, '');
  return SECRET_NAMES.has(plain) || SECRET_WORDS.test(plain);
}

/** Masks credentials inside free text. Leaves JSON text valid: no pattern reaches over a quote or a backslash. */
export function redactText(text: string): string {
  return TEXT_PATTERNS.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);
}

/** A copy of `value` for logging: secret fields masked at any depth, errors and bytes made printable. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return '[too deep]';
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Error) return redactError(value, depth);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  return redactFields(value, depth);
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  // Own fields carry the details (code, fields, SQLSTATE); drivers also hang the query's parameters on them.
  const details = redactFields(error, depth);
  for (const parameters of ['parameters', 'driverError', 'query', 'config']) delete details[parameters];
  return {
    ...details,
    type: name,
    message,
    stack,
    ...(cause === undefined ? {} : { cause: redact(cause, depth + 1) }),
  };
}

function redactFields(value: object, depth: number): Record<string, unknown> {
  const entries = Object.entries(value).map(([name, item]: [string, unknown]): [string, unknown] => {
    const hide = isSecretName(name) && item !== undefined && item !== null && typeof item !== 'boolean';
    return [name, hide ? REDACTED : redact(item, depth + 1)];
  });
  return Object.fromEntries(entries);
}
