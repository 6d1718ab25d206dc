/** Every dialect by its name, made once per process. */
import type { MinerDialect } from '@studio/shared/contract/miners';
import type { Dialect } from './dialect';
import { DippyDialect } from './dippy';
import { NativeDialect, type NativeParts } from './native';

export type DialectOf = (name: MinerDialect) => Dialect;

export function createDialects(parts: NativeParts): DialectOf {
  const dialects: Record<MinerDialect, Dialect> = { native: new NativeDialect(parts), dippy: new DippyDialect(parts) };
  return (name) => dialects[name];
}
