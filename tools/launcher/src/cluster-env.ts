import { IntegerVar, ProcessEnv, SecretVar, TextVar, UrlVar } from '@studio/shared/platform/env';

/** Of the demo in a cluster, whose services run already. */
export class ClusterDemoEnv extends ProcessEnv {
  @UrlVar(['http', 'https'])
  API_URL!: string;

  @UrlVar(['http', 'https'])
  REGISTRY_URL!: string;

  @UrlVar(['http', 'https'])
  REGISTRY_ADMIN_URL!: string;

  @UrlVar(['http', 'https'])
  AUDITOR_URL!: string;

  /** A client's, as create-key prints it. */
  @TextVar({ what: 'a client key' })
  API_KEY!: string;

  @SecretVar()
  ADMIN_KEY!: string;

  /** How many miners have to be registered before it begins, references included. */
  @IntegerVar({ min: 1, max: 256, example: 4 })
  MINERS = 4;

  @TextVar({ what: 'a directory', example: '/out' })
  OUT_DIR = 'out';
}
