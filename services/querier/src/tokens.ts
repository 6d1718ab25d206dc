/** What Nest finds a dependency by where an interface, which leaves no trace at run time, is asked for. */
import type { ArtifactStore } from '@studio/shared/platform/artifacts';

export class ArtifactFiles {
  constructor(readonly store: ArtifactStore) {}
}
