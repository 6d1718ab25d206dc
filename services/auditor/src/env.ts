import { ArtifactsEnv } from '@studio/shared/platform/artifacts-env';
import { IntegerVar, OptionalVar, PortVar, ProcessEnv, SecretVar, TextVar, UrlVar } from '@studio/shared/platform/env';

export class DatabaseEnv extends ProcessEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;
}

/** What the auditor is told from outside, read once at boot. It only reads the querier's artifacts: photographs, adapters and pictures that it compares. */
export class AuditorEnv extends ArtifactsEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;

  @UrlVar(['nats', 'tls'])
  NATS_URL!: string;

  @TextVar({ what: 'an address to listen on', example: '127.0.0.1' })
  HTTP_HOST = '127.0.0.1';

  @PortVar()
  HTTP_PORT = 4_030;

  /** Photographs and prompts that jobs of our own are made from (canaries/corpus.ts). Unset: none are made. */
  @OptionalVar()
  @TextVar({ what: 'a directory with photographs and prompts.txt', example: '/var/lib/studio/canaries' })
  CANARY_CORPUS?: string;

  /** Opens /admin/v1 as a bearer token. */
  @SecretVar()
  ADMIN_KEY!: string;

  /** How long a lost hint may delay intake, replays, closes and the ledger. */
  @IntegerVar({ min: 50, max: 60_000, example: 1_000 })
  SWEEP_MS = 1_000;
}
