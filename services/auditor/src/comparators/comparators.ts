/** Hands out the comparator of a case, once every pair of its results has been looked into. */
import { randomInt } from 'node:crypto';
import type { JobResult, LoraRef, TrainingInput } from '@studio/shared/domain/job';
import { taskKind, type Comparator } from '@studio/shared/domain/task-kinds';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import { finishedReplays, type AuditCase } from '../audit-case';
import type { ComparisonPool } from './comparison-pool';
import { exact } from './exact';
import { pairOfAdapters, pairOfPictures, type Pair } from './pairs';
import type { ResultComparator } from './result-comparator';

/** A result of the case and who made it. */
interface Party {
  digest: string;
  result: JobResult;
  trusted: boolean;
}

/** Cases are looked at again whenever one of their replays ends, and when an epoch closes. */
const REMEMBERED_PAIRS = 2_000;

const MAX_SEED = 2 ** 32 - 1;

export class Comparators {
  private readonly pairs = new Map<string, Pair>();

  /** @param nameOf which comparator a case is for. */
  constructor(
    private readonly artifacts: Pick<ArtifactStore, 'read'>,
    private readonly pool: Pick<ComparisonPool, 'pictures' | 'functional'>,
    private readonly nameOf: (audit: AuditCase) => Comparator = ({ kind, engine }) => taskKind(kind, engine).comparator,
  ) {}

  /** Undefined where the case's results cannot be compared: nothing could, or a file is gone. */
  async of(audit: AuditCase): Promise<ResultComparator | undefined> {
    const name = this.nameOf(audit);
    if (name === 'exact') return exact;
    if (name === 'functional' && audit.engine !== 'ref-sep-v1') return undefined;
    const parties = partiesOf(audit);
    const pairs = new Map<string, Pair>();
    for (const [index, one] of parties.entries()) {
      for (const other of parties.slice(index + 1)) {
        const pair = await this.pairOf(name, audit, one, other);
        if (!pair) return undefined;
        pairs.set(keyOf(one.digest, other.digest), pair);
      }
    }
    return comparatorOver(pairs);
  }

  private async pairOf(name: Comparator, audit: AuditCase, one: Party, other: Party): Promise<Pair | undefined> {
    const key = `${audit.jobId} ${audit.policy.version} ${keyOf(one.digest, other.digest)}`;
    const known = this.pairs.get(key);
    if (known) return known;
    const pair =
      name === 'perceptual' ? await this.pictures(audit, one, other) : await this.adapters(audit, one, other);
    if (pair) this.pairs.set(key, pair);
    for (const oldest of this.pairs.keys()) {
      if (this.pairs.size <= REMEMBERED_PAIRS) break;
      this.pairs.delete(oldest);
    }
    return pair;
  }

  private async pictures(audit: AuditCase, one: Party, other: Party): Promise<Pair | undefined> {
    const thresholds = audit.policy.audit.perceptual;
    return pairOfPictures(one.result, other.result, thresholds, async (a, b) => {
      const [first, second] = await Promise.all([this.artifacts.read(a.sha256), this.artifacts.read(b.sha256)]);
      return first && second ? this.pool.pictures(first, second, thresholds) : undefined;
    });
  }

  /** The reference's adapter is the measure of the other; between equals each has to pass for the other's measure. */
  private async adapters(audit: AuditCase, one: Party, other: Party): Promise<Pair | undefined> {
    const image = await this.artifacts.read((audit.input as TrainingInput).image.sha256);
    const [ofOne, ofOther] = await Promise.all([one, other].map((party) => this.artifacts.read(loraOf(party).sha256)));
    if (!image || !ofOne || !ofOther) return undefined;
    const secretSeed = randomInt(MAX_SEED);
    const check = (target: Buffer, own: Buffer): ReturnType<ComparisonPool['functional']> =>
      this.pool.functional({ engine: 'ref-sep-v1', image, target, own, secretSeed });
    const checks = [
      ...(one.trusted && !other.trusted ? [] : [await check(ofOne, ofOther)]),
      ...(other.trusted && !one.trusted ? [] : [await check(ofOther, ofOne)]),
    ];
    return pairOfAdapters(checks, secretSeed);
  }
}

/** The audited result and those of its replays, each different one once. */
function partiesOf(audit: AuditCase): Party[] {
  const own = { digest: exact.digest(audit.result), result: audit.result, trusted: false };
  const replays = finishedReplays(audit.replays).map(({ judge, done: { result } }) => ({
    digest: exact.digest(result),
    result,
    trusted: judge === 'trusted',
  }));
  const parties = [own, ...replays];
  return parties.filter(({ digest }, index) => parties.findIndex((party) => party.digest === digest) === index);
}

function comparatorOver(pairs: ReadonlyMap<string, Pair>): ResultComparator {
  const pair = (a: string, b: string): Pair | undefined => pairs.get(keyOf(a, b));
  return {
    digest: exact.digest,
    agrees: (a, b) => a === b || (pair(a, b)?.agrees ?? false),
    difference: (target, reference) => pair(exact.digest(target), exact.digest(reference))?.difference,
    distances: (a, b) => pair(a, b)?.distances,
  };
}

/** The same either way round. */
function keyOf(a: string, b: string): string {
  return [a, b].sort().join('\n');
}

function loraOf({ result }: Party): LoraRef {
  if ('lora' in result) return result.lora;
  throw new TypeError('an adapter is compared with a picture');
}
