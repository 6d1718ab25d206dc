import { ValidateIf } from 'class-validator';
import {
  ChoiceVar,
  DurationVar,
  FlagVar,
  IntegerVar,
  NotInProduction,
  OptionalVar,
  PortVar,
  ProcessEnv,
  SecretVar,
  TextVar,
  UrlVar,
} from '@studio/shared/platform/env';

/** Needed only with this source of the metagraph; the variable is not looked at otherwise. */
const With = (source: RegistryEnv['METAGRAPH']): PropertyDecorator =>
  ValidateIf(({ METAGRAPH }: RegistryEnv) => METAGRAPH === source);

/** Needed only with a NATS for validators. */
const WithScores = ValidateIf(({ SCORES_NATS_URL }: RegistryEnv) => SCORES_NATS_URL !== undefined);

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

  /**
   * Where it is read who belongs to the subnet. `none` lets everybody take part: for development, because identities
   * that cost nothing take all ranks.
   */
  @ChoiceVar(['none', 'file', 'pylon'])
  @NotInProduction(
    'none',
    'file or pylon when NODE_ENV=production: without a metagraph anybody can be many miners (sybils)',
  )
  METAGRAPH: 'none' | 'file' | 'pylon' = 'none';

  @With('file')
  @TextVar({ what: 'a JSON file with the metagraph', example: '/etc/studio/metagraph.json' })
  METAGRAPH_FILE?: string;

  /** bittensor-pylon, the sidecar that talks to the chain. */
  @With('pylon')
  @UrlVar(['http', 'https'])
  PYLON_URL?: string;

  @With('pylon')
  @IntegerVar({ min: 0, max: 65_535, example: 11 })
  NETUID?: number;

  /** Pylon's open access token, where it has one. */
  @OptionalVar()
  @TextVar({ what: "pylon's open access token" })
  PYLON_TOKEN?: string;

  /** Believe a metagraph that has lost more than half of its members, once: the next reading is judged as ever. */
  @FlagVar()
  METAGRAPH_ACCEPT_LOSS = false;

  /**
   * The NATS that validators listen to, in operator mode, with an account for nothing but the stream SCORES. Never the
   * services' own. Without it everybody reads the log over HTTP.
   */
  @OptionalVar()
  @UrlVar(['nats', 'tls'])
  SCORES_NATS_URL?: string;

  /** Where validators reach it, when that is another address. */
  @OptionalVar()
  @UrlVar(['nats', 'tls'])
  SCORES_NATS_PUBLIC_URL?: string;

  @WithScores
  @TextVar({ what: 'a file with the credentials of the account', example: '/etc/studio/registry.creds' })
  SCORES_NATS_CREDS?: string;

  @WithScores
  @TextVar({ what: 'a file with the seed of its scoped signing key', example: '/etc/studio/validators.seed' })
  SCORES_NATS_SIGNING_KEY?: string;

  /** Copies of the stream, where that NATS is a cluster; a stream that is there gets them too. One server refuses more than one. */
  @IntegerVar({ min: 1, max: 5, example: 3 })
  SCORES_NATS_REPLICAS = 1;

  /**
   * How long a validator listens before it has to sign again: whoever leaves the metagraph hears of the scores for so long
   * at most. Ten minutes are 150 requests a minute from 1,000 validators, which ask anew after two thirds.
   */
  @DurationVar({ minMs: 2_000, maxMs: 3_600_000 })
  SCORES_SESSION = 600_000;

  get trustedHotkeys(): string[] {
    return (this.TRUSTED_HOTKEYS ?? '')
      .split(',')
      .map((hotkey) => hotkey.trim())
      .filter(Boolean);
  }
}
