/**
 * Win rates (seed §3.2): every scored miner against every other, half a win for a tie.
 * `w_i = (2·less + eq) / (2·(n − 1))`, with `less` the miners below i and `eq` the others level with it.
 */

/**
 * @param scores points of the scored miners, in any order; 64-bit, as the ledger stores them.
 * @returns the win rate of each, in the same order, in [0, 1]; `[1]` for one miner, `[]` for none.
 * @throws RangeError for a score that does not fit into 64 bits.
 *
 * O(n log n): one native sort of the distinct scores, then ranks by group. The O(n²) definition is the test's oracle.
 */
export function winRates(scores: readonly bigint[]): number[] {
  const n = scores.length;
  if (n === 1) return [1];
  const sizes = new Map<bigint, number>();
  for (const score of scores) sizes.set(score, (sizes.get(score) ?? 0) + 1);
  const rates = new Map<bigint, number>();
  let less = 0;
  for (const score of sortedDistinct(sizes)) {
    const size = sizes.get(score) ?? 0;
    // Numerator and denominator are exact integers: one rounding, so equal ranks have equal bits.
    rates.set(score, (2 * less + size - 1) / (2 * (n - 1)));
    less += size;
  }
  return scores.map((score) => rates.get(score) ?? 0);
}

/** A typed array sorts bigints natively, without a comparator call per pair. */
function sortedDistinct(sizes: ReadonlyMap<bigint, number>): BigInt64Array {
  for (const score of sizes.keys()) {
    if (BigInt.asIntN(64, score) !== score) throw new RangeError(`score ${score} does not fit into 64 bits`);
  }
  return new BigInt64Array(sizes.keys()).sort();
}
