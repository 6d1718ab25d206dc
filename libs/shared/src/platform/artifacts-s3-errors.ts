/** What an answer of an S3 server means for us, and what to do about it. */
import { StudioError } from '../domain/errors';

interface S3Failure {
  name?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
}

/** The object is not there; a missing bucket is not that. A HEAD has no body that would tell the two apart. */
export function isMissing(error: unknown): boolean {
  return ['NoSuchKey', 'NotFound'].includes((error as S3Failure).name ?? '');
}

/** Whoever asked can only come again: what is wrong is between us and the store, and stands in the log. */
export function asStoreDown(error: unknown): never {
  const message = 'the store of images and LoRAs does not answer as it should: try again in a moment';
  throw new StudioError('DEPENDENCY_DOWN', message, [], { cause: error });
}

interface Place {
  endpoint: string;
  region: string;
  bucket: string;
}

export function s3Remedy(error: unknown, { endpoint, region, bucket }: Place): string {
  const { name = '', code, message = '', $metadata } = error as S3Failure;
  const where = `bucket "${bucket}" at ${endpoint}`;
  switch (name) {
    case 'NoSuchBucket':
      return `S3_BUCKET: there is no ${where}: create it, or correct the name`;
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
      return `S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY are refused by ${endpoint} (${name}): give the key of one account`;
    case 'AccessDenied':
      return `${where} refuses this key: allow it s3:GetObject, PutObject and DeleteObject, and s3:ListBucket on the bucket`;
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
      return `S3_REGION is ${region}, but ${where} is in another region: set S3_REGION and S3_ENDPOINT to the bucket's`;
    default:
      return $metadata?.httpStatusCode
        ? `${where} answers ${$metadata.httpStatusCode} ${name}: ${message}`
        : `S3_ENDPOINT: ${endpoint} does not answer (${code ?? (message || name)}): is it the right address, and reachable from here?`;
  }
}
