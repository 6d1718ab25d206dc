/**
 * What the network between us and each miner looks like: the least TCP connect time, and the address that its endpoint
 * led to. Written by every worker's round trips, read by the intake (credit), by AddressOwners and by the probe.
 */
import type { DataSource } from 'typeorm';

/** Connect times change with routes, not with jobs. */
const CACHE_MS = 5_000;

export interface Measurement {
  hotkey: string;
  /** Whole µs, the least of `samples` connects to this address. */
  rttMinUs: number;
  samples: number;
  /** `IP:port`; null where it was not seen. */
  address: string | null;
}

export interface Measured extends Measurement {
  /** Database time of the first connect to this address since it last changed; null without an address. */
  addressSinceMs: number | null;
}

export class MeasurementStore {
  private known: ReadonlyMap<string, Measured> = new Map();
  private until = -Infinity;
  private reading: Promise<void> | undefined;

  constructor(
    private readonly db: DataSource,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** 0 where it was not measured yet: no credit rather than a guess. */
  async rttMinUs(hotkey: string): Promise<number> {
    return (await this.all()).get(hotkey)?.rttMinUs ?? 0;
  }

  /** Everybody's, by hotkey; at most `CACHE_MS` old. */
  async all(): Promise<ReadonlyMap<string, Measured>> {
    if (this.clock() >= this.until) await (this.reading ??= this.read().finally(() => (this.reading = undefined)));
    return this.known;
  }

  /** One miner's, as `recordAll`. */
  record(hotkey: string, rttMinUs: number, samples: number, address: string | null = null): Promise<void> {
    return this.recordAll([{ hotkey, rttMinUs, samples, address }]);
  }

  /**
   * Adds to what is known, in one statement. At a new address everything begins again: the least connect time to the
   * place where a miner was says nothing about where it is.
   */
  async recordAll(measurements: readonly Measurement[]): Promise<void> {
    if (measurements.length === 0) return;
    await this.db.query(
      `INSERT INTO studio.miner_measurements AS m (hotkey, rtt_min_us, samples, address, address_since)
       SELECT hotkey, rtt, samples, address, CASE WHEN address IS NOT NULL THEN studio.now() END
         FROM unnest($1::text[], $2::bigint[], $3::int[], $4::text[]) AS given (hotkey, rtt, samples, address)
        ORDER BY hotkey -- one order for all workers, so that two statements never wait for each other's rows
       ON CONFLICT (hotkey) DO UPDATE
         SET rtt_min_us = CASE WHEN ${SAME_PLACE} THEN least(m.rtt_min_us, EXCLUDED.rtt_min_us)
                               ELSE EXCLUDED.rtt_min_us END,
             samples = CASE WHEN ${SAME_PLACE} THEN m.samples + EXCLUDED.samples ELSE EXCLUDED.samples END,
             address = coalesce(EXCLUDED.address, m.address),
             address_since = CASE WHEN ${SAME_PLACE} THEN coalesce(m.address_since, EXCLUDED.address_since)
                                  ELSE EXCLUDED.address_since END,
             measured_at = studio.now()`,
      [
        measurements.map(({ hotkey }) => hotkey),
        measurements.map(({ rttMinUs }) => rttMinUs),
        measurements.map(({ samples }) => samples),
        measurements.map(({ address }) => address),
      ],
    );
  }

  private async read(): Promise<void> {
    const rows = await this.db.query<MeasuredRow[]>(
      `SELECT hotkey, rtt_min_us AS rtt, samples, address,
              round(extract(epoch FROM address_since) * 1000)::bigint AS since
         FROM studio.miner_measurements`,
    );
    this.known = new Map(rows.map((row) => [row.hotkey, measured(row)]));
    this.until = this.clock() + CACHE_MS;
  }
}

/** A measurement without an address cannot contradict the one that is known. */
const SAME_PLACE = '(m.address IS NULL OR EXCLUDED.address IS NULL OR m.address = EXCLUDED.address)';

interface MeasuredRow {
  hotkey: string;
  rtt: string;
  samples: number;
  address: string | null;
  since: string | null;
}

function measured({ hotkey, rtt, samples, address, since }: MeasuredRow): Measured {
  return { hotkey, rttMinUs: Number(rtt), samples, address, addressSinceMs: since === null ? null : Number(since) };
}
