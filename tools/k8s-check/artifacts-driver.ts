import type { Program, Variables } from './programs';

const S3 = [
  'S3_ENDPOINT',
  'S3_REGION',
  'S3_BUCKET',
  'S3_FORCE_PATH_STYLE',
  'S3_ACCESS_KEY_ID_FILE',
  'S3_SECRET_ACCESS_KEY_FILE',
];

/**
 * The manifests name the bucket's driver as it will be called. While a program does not read ARTIFACTS_DRIVER, these variables are
 * taken for a directory; from then on they are held to its rules like any other.
 */
export function withDriver(program: Program, variables: Variables): Variables {
  if (program.reads.has('ARTIFACTS_DRIVER') || variables.ARTIFACTS_DRIVER !== 's3') return variables;
  const others = Object.entries(variables).filter(([name]) => name !== 'ARTIFACTS_DRIVER' && !S3.includes(name));
  return { ...Object.fromEntries(others), ARTIFACTS_DIR: '/var/lib/studio/artifacts' };
}
