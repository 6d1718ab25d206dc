import { extname, join } from 'node:path';

/**
 * Node's flags for a thread whose entry lies beside `filename`: sources (tests) are compiled as it loads them, by what keeps the
 * result for the next thread; built files need nothing.
 */
export function threadFlags(filename: string): string[] {
  if (extname(filename) !== '.ts') return [];
  return ['--conditions=studio-src', '--require', join(__dirname, '../testing/typescript-threads.cjs')];
}
