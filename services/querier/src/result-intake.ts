/** From a miner's bytes to the job's result: check everything, store the files, then let the database decide. */
import type { ArtifactRef, ImageRef, InferenceInput, JobResult, TrainingInput } from '@studio/shared/domain/job';
import { imagePart, LORA_PART } from '@studio/shared/contract/miner-job';
import type { MinerReceipt } from '@studio/shared/contract/receipt';
import { netLatencyUs, networkCreditUs, type NetworkPath } from '@studio/shared/domain/latency';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import { isOverdriven } from './checks/blank';
import type { CheckPool } from './checks/check-pool';
import type { CleanImage } from './checks/image-check';
import type { MeasurementStore } from './measurement.store';
import { ResultRefused, type MinerResult } from './miner-result';
import type { AcceptedResult, ArtifactRow, CallbackTarget, ResultStore } from './result.store';
import { storable } from './sql';

export type ResultSubject = Pick<
  CallbackTarget,
  'jobId' | 'attemptNo' | 'hotkey' | 'kind' | 'engine' | 'input' | 'timeoutMs'
>;

/** What a miner sent, and its verified signature over it; null where its dialect has none. */
export interface SentResult {
  result: MinerResult;
  receipt: MinerReceipt | null;
}

export interface Timing {
  rawUs: number;
  freshTls: boolean;
  /** A fault of ours spoiled the measurement. */
  void: boolean;
}

/** `late`: it is sound, but the attempt is closed. `reason` is a sentence for the client and the miner. */
export type IntakeOutcome =
  { type: 'accepted' } | { type: 'late' } | { type: 'refused'; state: 'invalid' | 'failed'; reason: string };

interface Stored {
  result: JobResult;
  artifacts: ArtifactRow[];
  /** What the result is made of, as the network credit counts it: pictures as we encode them, LoRAs by their tensors alone. */
  canonicalBytes: number;
}

export const IMAGE_TYPE = 'image/png';
export const LORA_TYPE = 'application/octet-stream';

export class ResultIntake {
  constructor(
    private readonly checks: CheckPool,
    private readonly artifacts: ArtifactStore,
    private readonly results: ResultStore,
    private readonly measurements: MeasurementStore,
  ) {}

  async take(subject: ResultSubject, { result: sent, receipt }: SentResult, timing: Timing): Promise<IntakeOutcome> {
    const { manifest } = sent;
    if (manifest.job_id !== subject.jobId || manifest.attempt !== subject.attemptNo) {
      return { type: 'refused', state: 'invalid', reason: 'the result belongs to another job or attempt' };
    }
    if (manifest.status === 'failed') {
      const why = storable(manifest.error ?? '', 300);
      return { type: 'refused', state: 'failed', reason: `the miner gave up${why ? `: ${why}` : ''}` };
    }
    try {
      const { result, artifacts, canonicalBytes } = await this.checkAndStore(subject, sent.files);
      const accepted = await this.results.accept({
        ...(await this.measure(subject, canonicalBytes, timing)),
        result,
        artifacts,
        receipt,
      });
      return { type: accepted ? 'accepted' : 'late' };
    } catch (error) {
      if (error instanceof ResultRefused) return { type: 'refused', state: 'invalid', reason: storable(error.message) };
      throw error;
    }
  }

  private async measure(
    { jobId, attemptNo, hotkey, timeoutMs }: ResultSubject,
    canonicalBytes: number,
    { rawUs, freshTls, void: spoiled }: Timing,
  ): Promise<Omit<AcceptedResult, 'result' | 'artifacts' | 'receipt'>> {
    const raw = Math.max(0, Math.round(rawUs));
    const network: Omit<NetworkPath, 'tMaxMs'> = {
      rttMinUs: await this.measurements.rttMinUs(hotkey),
      freshTls,
      canonicalBytes,
    };
    const creditUs = networkCreditUs({ ...network, tMaxMs: timeoutMs });
    const netUs = netLatencyUs(raw, creditUs);
    return { jobId, attemptNo, rawUs: raw, creditUs, netUs, void: spoiled, network };
  }

  /** @throws ResultRefused with the first thing that is wrong. */
  private checkAndStore({ kind, engine, input }: ResultSubject, files: ReadonlyMap<string, Buffer>): Promise<Stored> {
    return kind === 'lora-training'
      ? this.storeLora(engine, input as TrainingInput, part(files, LORA_PART))
      : this.storeImages(engine, input as InferenceInput, files);
  }

  private async storeLora(
    engine: ResultSubject['engine'],
    { rank, resolution }: TrainingInput,
    bytes: Buffer,
  ): Promise<Stored> {
    const checked = await this.checks.lora(bytes, { engine, rank, resolution });
    if (!checked.ok) throw new ResultRefused(checked.reason);
    const ref = await this.artifacts.put(bytes, { contentType: LORA_TYPE, maxBytes: bytes.byteLength });
    const lora = { ...ref, rank, tensorHash: checked.value.tensorHash };
    const artifacts = [{ ...ref, facts: { ...checked.value } }];
    return { result: { lora }, artifacts, canonicalBytes: bytes.byteLength - headerBytes(bytes) };
  }

  private async storeImages(
    engine: ResultSubject['engine'],
    { numImages, width, height, loraScale }: InferenceInput,
    files: ReadonlyMap<string, Buffer>,
  ): Promise<Stored> {
    const expected = { width, height, overdriven: isOverdriven(engine, loraScale) };
    const checked = await Promise.all(
      Array.from({ length: numImages }, (_, index) => this.checks.image(part(files, imagePart(index)), expected)),
    );
    const clean = checked.map((image, index) => {
      if (image.ok) return image.value;
      throw new ResultRefused(numImages > 1 ? `image ${index}: ${image.reason}` : image.reason);
    });
    // All are checked before any is stored: a refused result leaves nothing behind.
    const stored = await Promise.all(clean.map((image) => storeImage(this.artifacts, image)));
    const artifacts = stored.map(({ row }) => row);
    const canonicalBytes = artifacts.reduce((sum, { bytes: size }) => sum + size, 0);
    return { result: { images: stored.map(({ image }) => image) }, artifacts, canonicalBytes };
  }
}

/** Where a LoRA can be padded, with blanks and with metadata: up to 1 MiB that would be taken for transfer time. */
function headerBytes(safetensors: Buffer): number {
  return 8 + Number(safetensors.readBigUInt64LE(0));
}

export async function storeImage(
  store: ArtifactStore,
  { png, pixelHash, dctHash, width, height }: CleanImage,
): Promise<{ image: ImageRef; row: ArtifactRow }> {
  const ref: ArtifactRef = await store.put(png, { contentType: IMAGE_TYPE, maxBytes: png.byteLength });
  const facts = { width, height, pixelHash };
  return { image: { ...ref, ...facts }, row: { ...ref, facts: { ...facts, dctHash } } };
}

function part(files: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const bytes = files.get(name);
  if (!bytes) throw new ResultRefused(`the part ${name} is missing`);
  return bytes;
}
