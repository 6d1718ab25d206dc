import type { DataSource } from 'typeorm';

/** Connect times change with routes, not with jobs. */
const CACHE_MS = 5_000;

/** Least TCP connect time to each miner, in whole µs. */
export class MeasurementStore {
  private known = new Map<string, number>();
  private until = -Infinity;

  constructor(
    private readonly db: DataSource,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** 0 where it was not measured yet: no credit rather than a guess. */
  async rttMinUs(hotkey: string): Promise<number> {
    if (this.clock() >= this.until) {
      const rows = await this.db.query<{ hotkey: string; rtt: string }[]>(
        'SELECT hotkey, rtt_min_us AS rtt FROM studio.miner_measurements',
      );
      this.known = new Map(rows.map(({ hotkey: name, rtt }) => [name, Number(rtt)]));
      this.until = this.clock() + CACHE_MS;
    }
    return this.known.get(hotkey) ?? 0;
  }

  async record(hotkey: string, rttMinUs: number, samples: number): Promise<void> {
    await this.db.query(
      `INSERT INTO studio.miner_measurements AS m (hotkey, rtt_min_us, samples) VALUES ($1, $2, $3)
       ON CONFLICT (hotkey) DO UPDATE
         SET rtt_min_us = least(m.rtt_min_us, EXCLUDED.rtt_min_us), samples = m.samples + EXCLUDED.samples,
             measured_at = studio.now()`,
      [hotkey, rttMinUs, samples],
    );
  }
}
