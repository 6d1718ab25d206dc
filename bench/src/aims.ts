import type { Aim, Row } from './report';

/** Goals of performance.md, floor column. */
const ENGINE_OVER_PEER = 1;
const ENGINE_CPU_OVER_FLOOR = 2.2;
const ADDED_OVER_FLOOR_MS = 6;
const SUBMIT_P50_MS = 5;
const SUBMIT_P99_MS = 15;
const MEMORY_MIB = 150;

export interface Compared {
  floor: Row;
  engine: Row;
  product: Row;
  memoryMiB: Record<string, number>;
}

export function aimsOf({ floor, engine, product, memoryMiB }: Compared): Aim[] {
  const atLeast = (aim: string, value: number, bound: number): Aim => ({ aim, value, bound, met: value >= bound });
  const atMost = (aim: string, value: number, bound: number): Aim => ({ aim, value, bound, met: value <= bound });
  const { added, submit } = product;
  return [
    atLeast('engine, jobs/s over graphile-worker at its best', engine.peer?.ratio ?? Number.NaN, ENGINE_OVER_PEER),
    atMost('engine, CPU a job over HTTP only', engine.cpuOverFloor, ENGINE_CPU_OVER_FLOOR),
    atMost(
      'product, added p50 over the floor, ms',
      (added?.p50 ?? Number.NaN) - (floor.added?.p50 ?? Number.NaN),
      ADDED_OVER_FLOOR_MS,
    ),
    atMost('submit p50, ms', submit?.p50 ?? Number.NaN, SUBMIT_P50_MS),
    atMost('submit p99, ms', submit?.p99 ?? Number.NaN, SUBMIT_P99_MS),
    atMost('largest process of ours, peak MiB', Math.max(...Object.values(memoryMiB)), MEMORY_MIB),
  ];
}
