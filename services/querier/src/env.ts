import { hostname } from 'node:os';
import {
  ChoiceVar,
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
import { ArtifactsEnv } from '@studio/shared/platform/artifacts-env';
import { DEFAULT_PORTS, NetworkList, PortList } from '@studio/shared/platform/egress-env';

export class DatabaseEnv extends ProcessEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;
}

export class QuerierEnv extends ArtifactsEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;

  /** `api` answers clients and callbacks; `worker` dispatches. Same image, scaled apart. */
  @ChoiceVar(['api', 'worker'])
  ROLE!: 'api' | 'worker';

  @UrlVar(['nats', 'tls'])
  NATS_URL!: string;

  /** Holds whose turn it is at the miners, for all workers; lost without harm. */
  @UrlVar(['redis', 'rediss'])
  REDIS_URL!: string;

  /** sr25519 mini secret, the registry's own: requests to miners are signed with it, and replies signed for its hotkey. */
  @SecretVar()
  ORCHESTRATOR_SEED!: string;

  @TextVar({ what: 'an address to listen on', example: '127.0.0.1' })
  HTTP_HOST = '127.0.0.1';

  @PortVar()
  HTTP_PORT = 0;

  /** The operators' door of the api, for nobody else's network. */
  @PortVar()
  ADMIN_PORT = 4_011;

  /** Opens /admin/v1 there as a bearer token. Unset: there is no such door, and keys are made with `npm run keys`. */
  @OptionalVar()
  @SecretVar()
  ADMIN_KEY?: string;

  /** Where clients and miners reach the api: the base of every URL we hand out. */
  @UrlVar(['http', 'https'])
  PUBLIC_URL!: string;

  /** Signs artifact URLs and derives callback secrets: the same in every api and worker. */
  @SecretVar()
  URL_SECRET!: string;

  /** Signs webhooks; without it a key derived from URL_SECRET does. The same in every api. */
  @OptionalVar()
  @SecretVar()
  WEBHOOK_SECRET?: string;

  /** Its public key is published too and signs nothing: the next one before a rotation, the last one after it (docs/clients.md). */
  @OptionalVar()
  @SecretVar()
  WEBHOOK_OTHER_SECRET?: string;

  @IntegerVar({ min: 60, max: 604_800, example: 3_600 })
  URL_TTL_SECONDS = 3_600;

  /** Lets miners live on loopback and private networks. For development. */
  @FlagVar()
  @NotInProduction()
  ALLOW_PRIVATE_EGRESS = false;

  /** Where miners may listen, and where files that requests name by URL may lie. */
  @TextVar()
  @PortList()
  EGRESS_PORTS = DEFAULT_PORTS;

  /** Our own public addresses: no miner lives there, and a request to one would come from inside. */
  @OptionalVar()
  @TextVar()
  @NetworkList()
  EGRESS_DENY?: string;

  /** An HTTP proxy for everything that goes to miners. Names are then resolved, and refused, by it alone. */
  @OptionalVar()
  @UrlVar(['http', 'https'])
  EGRESS_PROXY_URL?: string;

  /** Jobs that one worker moves at the same time; nearly all of that time it waits for miners. */
  @IntegerVar({ min: 1, max: 4_096, example: 64 })
  WORKER_CONCURRENCY = 64;

  /**
   * How long a worker that is told to end lets its jobs finish before it hands them on. An inference takes some seconds;
   * a training goes on at its miner, which the next worker joins. Has to stay below the platform's own patience.
   */
  @IntegerVar({ min: 0, max: 600_000, example: 8_000 })
  WORKER_GRACE_MS = 8_000;

  /**
   * Jobs that finished longer ago are moved to archives, and files that no job has named for as long are removed. Unset:
   * everything is kept. More than the longest life of a link (URL_TTL_SECONDS).
   */
  @OptionalVar()
  @IntegerVar({ min: 8, max: 36_500, example: 90 })
  RETENTION_DAYS?: number;

  @OptionalVar()
  @TextVar({ what: 'a name shown in jobs.worker', example: 'worker-1' })
  WORKER_NAME?: string;

  get workerName(): string {
    return this.WORKER_NAME ?? `${hostname()}-${process.pid}`;
  }
}
