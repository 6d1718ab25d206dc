/** The lowest UUIDv7 of a moment: ids of jobs are in the order of time, so that an age is a range of the primary key. */
export function firstIdAt(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
