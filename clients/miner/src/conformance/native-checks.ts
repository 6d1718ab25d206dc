import type { Check } from './check';
import { ADMISSION_CHECKS } from './native-admission';
import { FILE_CHECKS } from './native-files';
import { FLOW_CHECKS } from './native-flow';
import { MANNERS_CHECKS } from './native-manners';
import type { NativeProbe } from './native-probe';
import { RESULT_CHECKS } from './native-results';

/** Everything of the native contract (contract/miner-job.ts) that can be seen from outside, cheap checks first. */
export const NATIVE_CHECKS: readonly Check<NativeProbe>[] = [
  ...MANNERS_CHECKS,
  ...ADMISSION_CHECKS,
  ...RESULT_CHECKS,
  ...FILE_CHECKS,
  ...FLOW_CHECKS,
];
