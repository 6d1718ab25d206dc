/** Whose webhooks are tried next, so that neither a slow receiver nor a client with thousands of them holds up the others. */
export interface Waiting {
  jobId: string;
  clientId: string;
  /** Scheme, host and port. */
  target: string;
}

export interface TurnLimits {
  /** Tries under way of one process. */
  atOnce: number;
  /** … of one client, however many receivers it names. */
  perClient: number;
  /** … to one receiver, whoever names it. */
  perTarget: number;
}

/** A try takes 15 s at most, about 50 ms as a rule: some hundred webhooks a second and target. */
export const TURN_LIMITS: TurnLimits = { atOnce: 64, perClient: 32, perTarget: 16 };

type Lane = Pick<Waiting, 'clientId' | 'target'>;

/** Targets that may not be asked more now. */
export function fullTargets(flying: Iterable<Lane>, { perTarget }: TurnLimits): string[] {
  const counts = countBy(flying, ({ target }) => target);
  return [...counts].filter(([, count]) => count >= perTarget).map(([target]) => target);
}

/** @param waiting the longest waiting of each client, then the second of each, and so on. */
export function pickFairly(waiting: readonly Waiting[], flying: readonly Lane[], limits: TurnLimits): Waiting[] {
  const clients = countBy(flying, ({ clientId }) => clientId);
  const targets = countBy(flying, ({ target }) => target);
  const picked: Waiting[] = [];
  for (const candidate of waiting) {
    if (flying.length + picked.length >= limits.atOnce) break;
    const { clientId, target } = candidate;
    const [ofClient, ofTarget] = [clients.get(clientId) ?? 0, targets.get(target) ?? 0];
    if (ofClient >= limits.perClient || ofTarget >= limits.perTarget) continue;
    clients.set(clientId, ofClient + 1);
    targets.set(target, ofTarget + 1);
    picked.push(candidate);
  }
  return picked;
}

function countBy<T>(items: Iterable<T>, key: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return counts;
}
