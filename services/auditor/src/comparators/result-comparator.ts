import type { JobResult } from '@studio/shared/domain/job';

/** `what` differs, and `how`: { what: 'image 2 of 4', how: 'pixel hash a1b2… against c3d4…' }. */
export interface Difference {
  what: string;
  how: string;
}

/** Decides whether two results of the same job are the same work. One per name in task-kinds.ts. */
export interface ResultComparator {
  /** Names the result completely, as far as this comparator looks: what `agrees` takes and evidence shows. */
  digest: (result: JobResult) => string;
  /** Symmetric. */
  agrees: (a: string, b: string) => boolean;
  /** The first difference; undefined when there is none. */
  difference: (target: JobResult, reference: JobResult) => Difference | undefined;
}
