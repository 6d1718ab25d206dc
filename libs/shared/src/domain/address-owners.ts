/**
 * A resolved IP:port belongs to one operator. Whoever registers another's address under a name of its own would earn on
 * the other's work, or be routed to as often as it has names. Callers: the workers' routing, before they choose; the
 * registry, which tells the miner.
 */

/** Where a miner's endpoint led to when it was last connected to, and since when. */
export interface AddressClaim {
  hotkey: string;
  operator: string;
  /** A reference: it was put there by us. */
  trusted: boolean;
  address: string;
  sinceMs: number;
}

/**
 * Each miner whose address another operator had first, with a sentence that says so; by hotkey. References come before
 * everybody: their endpoints are no secret, and nobody may earn on them. Pure, and independent of the claims' order.
 */
export function blockedByAddress(claims: readonly AddressClaim[]): Map<string, string> {
  const owners = new Map<string, AddressClaim>();
  for (const claim of claims) {
    const owner = owners.get(claim.address);
    if (!owner || comesBefore(claim, owner)) owners.set(claim.address, claim);
  }
  const blocked = new Map<string, string>();
  for (const { hotkey, operator, address } of claims) {
    const owner = owners.get(address)!.operator;
    if (owner !== operator) blocked.set(hotkey, reasonFor(address, owner));
  }
  return blocked;
}

function comesBefore(a: AddressClaim, b: AddressClaim): boolean {
  if (a.trusted !== b.trusted) return a.trusted;
  if (a.sinceMs !== b.sinceMs) return a.sinceMs < b.sinceMs;
  // In the same millisecond: whoever it is, every worker has to decide alike.
  return a.operator < b.operator;
}

function reasonFor(address: string, owner: string): string {
  return `its endpoint leads to ${address}, which belongs to operator ${owner}; give this miner an address or a port of its own`;
}
