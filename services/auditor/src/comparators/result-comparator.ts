import type { JobResult } from '@studio/shared/domain/job';

/** `what` differs, and `how`: { what: 'image 2 of 4', how: 'pixel hash a1b2… against c3d4…' }. */
export interface Difference {
  what: string;
  how: string;
}

/** Figures of one picture's or adapter's comparison, by name; they go into the verdict's evidence. */
export type Distances = Readonly<Record<string, number>>;

/**
 * Decides whether two results of the same job are the same work. Synchronous: one that has to look into files has done so for
 * every pair of the case before it is handed out (comparators.ts).
 */
export interface ResultComparator {
  /** Names the result completely, as far as this comparator looks: what `agrees` takes and evidence shows. */
  digest: (result: JobResult) => string;
  /** Symmetric. */
  agrees: (a: string, b: string) => boolean;
  /** The first difference; undefined when there is none. */
  difference: (target: JobResult, reference: JobResult) => Difference | undefined;
  /** What was measured, where more than equality was. */
  distances?: (a: string, b: string) => Distances[] | undefined;
}
