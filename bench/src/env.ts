/** Set by product-system.ts for the programs that it loads into the services. */

/** Where a process writes its CPU profile (profile-process.ts). */
export function profilePath(): string {
  return process.env.BENCH_PROFILE ?? 'bench.cpuprofile';
}

/** While this file exists, the worker remembers results (remember-results.ts). */
export function rememberFlag(): string {
  return process.env.BENCH_REMEMBER_FLAG ?? '';
}

/** While this file exists, the registry checks signatures on its event loop (verify-on-loop.ts). */
export function verifyOnLoopFlag(): string {
  return process.env.BENCH_VERIFY_ON_LOOP_FLAG ?? '';
}
