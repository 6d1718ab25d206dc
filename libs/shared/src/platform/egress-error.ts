import type { Blame } from '../domain/job';

export type EgressCode =
  | 'refused-address'
  | 'connect-failed'
  | 'bad-certificate'
  | 'timeout'
  | 'too-large'
  | 'bad-encoding'
  | 'bad-reply'
  | 'network'
  | 'overloaded'
  | 'aborted';

/**
 * Whom a failure speaks against. A hint: the caller knows more, for example that everybody's connections fail at the
 * moment. A connection that cannot be made or breaks may be the network's fault on either side.
 */
const BLAME: Record<EgressCode, Blame> = {
  'refused-address': 'miner',
  'connect-failed': 'network',
  'bad-certificate': 'miner',
  timeout: 'miner',
  'too-large': 'miner',
  'bad-encoding': 'miner',
  // Not HTTP or not JSON: no network garbles a stream that TCP or TLS has checked.
  'bad-reply': 'miner',
  network: 'network',
  // We have as much under way there as we allow ourselves.
  overloaded: 'ours',
  aborted: 'none',
};

/** Why a request to a stranger's server gave nothing. The message names the origin, never the path or the query. */
export class EgressError extends Error {
  constructor(
    readonly code: EgressCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'EgressError';
  }

  get blame(): Blame {
    return BLAME[this.code];
  }
}

const CONNECT_CODES = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  // The proxy refused the tunnel: what we abort ourselves is told apart before.
  'UND_ERR_ABORTED',
]);

/** OpenSSL's reasons, as Node hands them on. */
const CERTIFICATE = /^(CERT_|ERR_TLS_CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE))/;

/** llhttp's and OpenSSL's complaints, and undici's own. An end in the middle is a broken connection, not bad HTTP. */
const GARBAGE = /^(HPE(?!_INVALID_EOF_STATE)|ERR_SSL_|EPROTO$|UND_ERR_HEADERS_OVERFLOW$|UND_ERR_RES_)/;

/** @param abortedBy what ended the request from our side, if anything did */
export function toEgressError(
  error: unknown,
  origin: string,
  abortedBy: 'deadline' | 'caller' | undefined,
): EgressError {
  if (error instanceof EgressError) return error;
  const options = { cause: error };
  if (abortedBy === 'deadline')
    return new EgressError('timeout', `${origin}: not finished within the deadline`, options);
  if (abortedBy === 'caller') return new EgressError('aborted', `${origin}: given up by the caller`, options);
  const code = errorCode(error);
  if (code === 'UND_ERR_HEADERS_TIMEOUT')
    return new EgressError('timeout', `${origin}: no reply began in time`, options);
  if (CONNECT_CODES.has(code)) return new EgressError('connect-failed', `${origin}: no connection (${code})`, options);
  if (CERTIFICATE.test(code))
    return new EgressError('bad-certificate', `${origin}: its certificate is not valid (${code})`, options);
  if (GARBAGE.test(code)) return new EgressError('bad-reply', `${origin}: did not speak HTTP (${code})`, options);
  return new EgressError('network', `${origin}: the connection or the reply broke (${code})`, options);
}

function errorCode(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  const { code, cause, name } = error as { code?: unknown; cause?: unknown; name?: unknown };
  if (typeof code === 'string') return code;
  // undici's parser looks its code up in a table that has none.
  if (name === 'HTTPParserError') return 'HPE';
  return cause === undefined ? 'unknown' : errorCode(cause);
}
