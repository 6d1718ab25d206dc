/** While this file exists, the worker remembers results (remember-results.ts). Set by product-system.ts. */
export function rememberFlag(): string {
  return process.env.BENCH_REMEMBER_FLAG ?? '';
}
