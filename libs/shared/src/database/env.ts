import { OptionalVar, ProcessEnv, UrlVar } from '../platform/env';

/** Of the owner for `migrate`, of any service for `wait`. */
export class DatabaseEnv extends ProcessEnv {
  @UrlVar(['postgres', 'postgresql'])
  POSTGRES_URL!: string;
}

/**
 * The services' own URLs, in which their passwords stand: with all three the roles are made, and given these passwords. Without
 * them they have to exist.
 */
export class MigrateEnv extends DatabaseEnv {
  @OptionalVar()
  @UrlVar(['postgres', 'postgresql'])
  QUERIER_POSTGRES_URL?: string;

  @OptionalVar()
  @UrlVar(['postgres', 'postgresql'])
  AUDITOR_POSTGRES_URL?: string;

  @OptionalVar()
  @UrlVar(['postgres', 'postgresql'])
  REGISTRY_POSTGRES_URL?: string;
}
