/** The auditor asks for jobs at the door of the querier, in one way for all: once per key, however often it is sent. */
import type { NatsConnection } from 'nats';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { SubmitJobCommand, SubmitJobReply } from '@studio/shared/contract/submit-job';
import { isStudioError, type ErrorCode } from '@studio/shared/domain/errors';
import { requestJson } from '@studio/shared/platform/nats';

/** A submit is one insert at the querier, and a photograph to look at. */
const SUBMIT_TIMEOUT_MS = 5_000;

/** Refusals that repeating the same request will not change; anything else is tried again. */
const FINAL_REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'INVALID_INPUT',
  'UNKNOWN_KIND',
  'IMAGE_UNREADABLE',
  'LORA_UNREADABLE',
  'UNSUPPORTED_URL',
  'NO_ELIGIBLE_MINER',
  'NOT_FOUND',
  'IDEMPOTENCY_MISMATCH',
]);

/**
 * @returns the job, the same for every repetition, or why there will be none.
 * @throws when the request has to be sent again, word for word.
 */
export async function requestJob(
  nats: NatsConnection,
  command: SubmitJobCommand,
): Promise<{ jobId: string } | { refusal: string }> {
  try {
    const { jobId } = await requestJson<SubmitJobReply>(nats, SUBJECTS.submitJob.subject, command, {
      timeoutMs: SUBMIT_TIMEOUT_MS,
    });
    return { jobId };
  } catch (error) {
    if (!isStudioError(error) || !FINAL_REFUSALS.has(error.code)) throw error;
    return { refusal: `${error.code}: ${error.message}` };
  }
}
