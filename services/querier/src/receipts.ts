/** A finished job on paper: what went in, what came out, who did it, signed by the miner and by us. */
import {
  RECEIPT_FORMAT,
  type JobReceipt,
  type ReceiptFile,
  type ReceiptMiner,
  type ReceiptVerdict,
  type SignedReceipt,
} from '@studio/shared/contract/receipt';
import { StudioError } from '@studio/shared/domain/errors';
import type { JobInput, JobResult } from '@studio/shared/domain/job';
import { canonicalHash } from '@studio/shared/protocol/canonical';
import type { Signer } from '@studio/shared/protocol/hotkey';
import { signReceipt } from '@studio/shared/protocol/receipt-signature';
import { validate as isUuid } from 'uuid';
import type { AcceptedAttempt, ReceiptFacts, ReceiptStore } from './receipt.store';

export class Receipts {
  constructor(
    private readonly store: Pick<ReceiptStore, 'find'>,
    private readonly signer: Signer,
    private readonly clock: () => Date = () => new Date(),
  ) {}

  /** @throws StudioError NOT_FOUND for another client's job, NOT_FINISHED */
  async issue(clientId: string, id: string): Promise<SignedReceipt> {
    const facts = isUuid(id) ? await this.store.find(clientId, id) : undefined;
    if (!facts) throw new StudioError('NOT_FOUND', 'no such job of yours: check the id and the key');
    const { finishedAt, state } = facts;
    if (!finishedAt)
      throw new StudioError('NOT_FINISHED', `the job is ${state}: there is a receipt when it is finished`);
    const receipt = this.receipt(facts, finishedAt);
    return { receipt, signature: await signReceipt(receipt, this.signer), input: facts.input };
  }

  private receipt(facts: ReceiptFacts, finishedAt: Date): JobReceipt {
    const { id, kind, engine, state, input, result, failure, createdAt, attempt, verdict } = facts;
    return {
      format: RECEIPT_FORMAT,
      orchestrator: this.signer.address,
      issued_at: this.clock().toISOString(),
      job_id: id,
      kind,
      engine,
      state,
      created_at: createdAt.toISOString(),
      finished_at: finishedAt.toISOString(),
      input_sha256: canonicalHash(input),
      input_file_sha256: fileOf(input),
      seed: input.seed,
      outputs: result ? outputsOf(result) : [],
      failure,
      miner: attempt && minerOf(attempt),
      verdict: verdict && verdictOf(verdict),
    };
  }
}

function fileOf(input: JobInput): string {
  return 'image' in input ? input.image.sha256 : input.lora.sha256;
}

function outputsOf(result: JobResult): ReceiptFile[] {
  const files =
    'lora' in result
      ? [{ ...result.lora, hash: result.lora.tensorHash }]
      : result.images.map((image) => ({ ...image, hash: image.pixelHash }));
  return files.map(({ sha256, bytes, contentType, hash }) => ({
    sha256,
    bytes,
    content_type: contentType,
    content_hash: hash,
  }));
}

function minerOf({ attemptNo, hotkey, dialect, signed, ...attempt }: AcceptedAttempt): ReceiptMiner {
  return {
    hotkey,
    dialect,
    attempt: attemptNo,
    sent_at: instant(attempt.sentAt),
    finished_at: instant(attempt.finishedAt),
    raw_us: attempt.rawUs,
    credit_us: attempt.creditUs,
    net_us: attempt.netUs,
    signed,
  };
}

function verdictOf({ decidedAt, ...verdict }: NonNullable<ReceiptFacts['verdict']>): ReceiptVerdict {
  return { ...verdict, decided_at: instant(decidedAt) };
}

function instant(text: string): string {
  return new Date(text).toISOString();
}
