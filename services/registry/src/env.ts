import { ChoiceVar, OptionalVar, PortVar, ProcessEnv, SecretVar, TextVar, UrlVar } from '@studio/shared/platform/env';

export class RegistryEnv extends ProcessEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;

  @UrlVar(['nats', 'tls'])
  NATS_URL!: string;

  @UrlVar(['redis', 'rediss'])
  REDIS_URL!: string;

  @TextVar({ what: 'an address to listen on', example: '127.0.0.1' })
  HTTP_HOST = '127.0.0.1';

  @PortVar()
  HTTP_PORT = 4_020;

  /** Operators' routes live on a port of their own, which no ingress publishes. */
  @PortVar()
  ADMIN_PORT = 4_021;

  @SecretVar()
  ADMIN_KEY!: string;

  /** Where miners and validators reach this service; shown in the documentation. */
  @UrlVar(['http', 'https'])
  PUBLIC_URL = 'http://127.0.0.1:4020';

  /** The policy that a new database begins with. Later versions are rows of `policies`. */
  @ChoiceVar(['default', 'demo'])
  POLICY = 'default';

  /** sr25519 mini secret; its hotkey is the recipient that requests to the registry are signed for. */
  @SecretVar()
  ORCHESTRATOR_SEED!: string;

  /** Hotkeys of references, comma separated. */
  @OptionalVar()
  @TextVar({ what: 'SS58 hotkeys separated by commas' })
  TRUSTED_HOTKEYS?: string;

  get trustedHotkeys(): string[] {
    return (this.TRUSTED_HOTKEYS ?? '')
      .split(',')
      .map((hotkey) => hotkey.trim())
      .filter(Boolean);
  }
}
