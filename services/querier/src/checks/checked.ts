/** What a check says: what the bytes are, or why they are refused, in words for the miner or the client. */
export type Checked<T> = { ok: true; value: T } | Refused;

export interface Refused {
  ok: false;
  reason: string;
}

export function refuse(reason: string): Refused {
  return { ok: false, reason };
}

/** libvips repeats itself over several lines. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!.slice(0, 200);
}
