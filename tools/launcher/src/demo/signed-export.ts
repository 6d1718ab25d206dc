/** The signed export of the demo's epoch: kept with the other results, and recomputed as anybody would who got the file. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { verifyExport, type ExportReport } from '@studio/validator/verify-scores/verify-export';
import { registryUrl } from '../system/processes';
import type { System } from '../system/start-system';
import { until } from '../system/until';

/** It is signed a second after the snapshot; this is for a registry that is being started again. */
const EXPORT_BOUND_MS = 30_000;

export interface VerifiedExport {
  path: string;
  report: ExportReport;
}

export async function verifiedExport(system: System, epoch: number): Promise<VerifiedExport> {
  const { places, endpoints, installation, supervisor } = system;
  const url = `${registryUrl(endpoints)}/v1/exports/epoch/${epoch}`;
  const path = join(places.outDir, 'scores', `epoch-${epoch}.ndjson.gz`);
  mkdirSync(join(places.outDir, 'scores'), { recursive: true });
  const save = async (): Promise<boolean> => {
    const reply = await fetch(url, { signal: AbortSignal.timeout(EXPORT_BOUND_MS) });
    const bytes = Buffer.from(await reply.arrayBuffer());
    if (reply.ok) writeFileSync(path, bytes);
    return reply.ok;
  };
  await until(`the export of epoch ${epoch} is signed`, EXPORT_BOUND_MS, save, supervisor);
  const registryKey = hotkeyFromSeed(installation.orchestratorSeed).address;
  return { path, report: (await verifyExport(path, { registryKey })).report };
}
