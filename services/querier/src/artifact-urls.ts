/** Links to our own artifacts: signed for miners and clients, and recognised when a client sends one back. */
import { StudioError } from '@studio/shared/domain/errors';
import { isArtifactName } from '@studio/shared/platform/artifacts';
import { signArtifactUrl, verifyArtifactUrl } from '@studio/shared/platform/signed-url';

export interface ArtifactUrlOptions {
  publicUrl: string;
  secret: string;
  ttlSeconds: number;
  nowMs?: () => number;
}

export class ArtifactUrls {
  private readonly baseUrl: string;
  private readonly nowMs: () => number;

  constructor(private readonly options: ArtifactUrlOptions) {
    this.baseUrl = `${options.publicUrl.replace(/\/+$/, '')}/v1/artifacts`;
    this.nowMs = options.nowMs ?? Date.now;
  }

  sign(sha256: string): string {
    const { secret, ttlSeconds } = this.options;
    const expiresAt = Math.floor(this.nowMs() / 1_000) + ttlSeconds;
    return signArtifactUrl({ baseUrl: this.baseUrl, sha256, expiresAt, secret });
  }

  /** Whether it leads to a file here, however old the link is. */
  isOurs(url: string): boolean {
    return url.startsWith(`${this.baseUrl}/`);
  }

  /**
   * @returns how long it stays valid, in seconds, at least 1.
   * @throws StudioError URL_EXPIRED
   */
  assertValid(sha256: string, expires: unknown, sig: unknown): number {
    const verdict = verifyArtifactUrl({ sha256, expires, sig, secret: this.options.secret, nowMs: this.nowMs() });
    if (!verdict.ok) throw new StudioError('URL_EXPIRED', verdict.reason);
    return Math.max(1, Math.floor(Number(expires) - this.nowMs() / 1_000));
  }

  /**
   * The artifact that a field of a request names.
   * @throws StudioError UNSUPPORTED_URL for anything but a link of ours, URL_EXPIRED for an old or altered one.
   */
  parse(url: string, path: string): string {
    const [link, query = ''] = url.split('?', 2);
    const sha256 = link?.startsWith(`${this.baseUrl}/`) ? link.slice(this.baseUrl.length + 1) : undefined;
    if (!isArtifactName(sha256)) {
      const message =
        'is not a URL of this service: upload the file with POST /v1/artifacts and send the url it returns';
      throw new StudioError('UNSUPPORTED_URL', `${path}: ${message}`, [{ path, message }]);
    }
    const parameters = new URLSearchParams(query);
    const verdict = verifyArtifactUrl({
      sha256,
      expires: parameters.get('expires'),
      sig: parameters.get('sig'),
      secret: this.options.secret,
      nowMs: this.nowMs(),
    });
    if (verdict.ok) return sha256;
    throw new StudioError('URL_EXPIRED', `${path}: ${verdict.reason}`, [{ path, message: verdict.reason }]);
  }
}
