/** Remarks to stderr; results to stdout, where a script reads them. */
export const say = (text: string): void => void process.stderr.write(`validator  ${text}\n`);
export const print = (text: string): void => void process.stdout.write(`${text}\n`);

/** Aborts on SIGTERM, SIGINT and the death of the parent, which all mean: finish, save, end. */
export function untilTold(): AbortSignal {
  const told = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => told.abort());
  process.on('disconnect', () => told.abort());
  return told.signal;
}

/** The channel to a parent would keep the process alive. */
export function letGo(): void {
  if (process.connected) process.disconnect();
}
