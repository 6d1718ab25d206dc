import { ValidateIf } from 'class-validator';
import type { Logger } from 'pino';
import type { ArtifactStore } from './artifacts';
import { FileArtifactStore } from './artifacts-fs';
import type { S3ArtifactStore as S3Store } from './artifacts-s3';
import { ChoiceVar, FlagVar, OptionalVar, ProcessEnv, TextVar, UrlVar } from './env';

type Driver = 'fs' | 's3';
type S3Driver = typeof S3Store;

/** Asked for by one driver alone. */
const For = (driver: Driver): PropertyDecorator =>
  ValidateIf(({ ARTIFACTS_DRIVER }: ArtifactsEnv) => ARTIFACTS_DRIVER === driver);

/** Where artifacts lie: the same in every api, worker and auditor. */
export class ArtifactsEnv extends ProcessEnv {
  /** `fs`: a directory that all of them share; `s3`: a bucket of an S3-compatible store. */
  @ChoiceVar(['fs', 's3'])
  ARTIFACTS_DRIVER: Driver = 'fs';

  @For('fs')
  @TextVar({ what: 'a directory (or ARTIFACTS_DRIVER=s3)', example: '/var/lib/studio/artifacts' })
  ARTIFACTS_DIR!: string;

  @For('s3')
  @UrlVar(['https', 'http'])
  S3_ENDPOINT!: string;

  @For('s3')
  @TextVar({ what: 'a region', example: 'eu-central-1' })
  S3_REGION = 'us-east-1';

  @For('s3')
  @TextVar({ minLength: 3, what: 'the name of a bucket', example: 'studio-artifacts' })
  S3_BUCKET!: string;

  @For('s3')
  @TextVar({ what: 'the access key of an account' })
  S3_ACCESS_KEY_ID!: string;

  @For('s3')
  @TextVar({ what: 'the secret that belongs to S3_ACCESS_KEY_ID' })
  S3_SECRET_ACCESS_KEY!: string;

  /** `https://endpoint/bucket/…`, which every store knows; false: `https://bucket.endpoint/…`. */
  @FlagVar()
  S3_FORCE_PATH_STYLE = true;

  /** Where clients and miners reach the same bucket: downloads then go there by a redirect. Unset: they come through the api. */
  @OptionalVar()
  @UrlVar(['https', 'http'])
  S3_PUBLIC_ENDPOINT?: string;
}

type Log = Pick<Logger, 'error' | 'info'>;

/** Says what is wrong with the store, but does not wait for it: a service begins, is not ready, and recovers by itself. */
export async function openArtifacts(env: ArtifactsEnv, log: Log): Promise<ArtifactStore> {
  const store = env.ARTIFACTS_DRIVER === 's3' ? openBucket(env) : new FileArtifactStore(env.ARTIFACTS_DIR);
  await artifactsProbe(store, log)().catch(() => undefined);
  return store;
}

/** For readiness: the door only says that the store does not answer, the log says once what is wrong and when it is over. */
export function artifactsProbe(store: Pick<ArtifactStore, 'check'>, log: Log): () => Promise<void> {
  let problem: string | undefined;
  return async () => {
    try {
      await store.check();
      if (problem !== undefined) log.info('the artifact store can be used again');
      problem = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== problem) log.error({ err: error }, message);
      problem = message;
      throw error;
    }
  };
}

/** Loaded only where it is used: the SDK takes a moment and some 20 MB. */
function openBucket(env: ArtifactsEnv): ArtifactStore {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import() here would be resolved as an ES module's
  const { S3ArtifactStore } = require('./artifacts-s3') as { S3ArtifactStore: S3Driver };
  return new S3ArtifactStore({
    endpoint: env.S3_ENDPOINT,
    region: env.S3_REGION,
    bucket: env.S3_BUCKET,
    accessKeyId: env.S3_ACCESS_KEY_ID,
    secretAccessKey: env.S3_SECRET_ACCESS_KEY,
    forcePathStyle: env.S3_FORCE_PATH_STYLE,
    publicEndpoint: env.S3_PUBLIC_ENDPOINT,
  });
}
