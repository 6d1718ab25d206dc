/** Real, small jobs: that they end with a result, in time, in the right form and signed. */
import { LORA_PART, imagePart } from '@studio/shared/contract/miner-job';
import type { JobKind } from '@studio/shared/domain/job';
import { verifyRequest } from '@studio/shared/protocol/signatures';
import { type Check, Failure, Skip, demand } from './check';
import { demandSigned } from './native-admission';
import { type JobResult, type NativeProbe, type TestJob, names } from './native-probe';
import { type Variant, testJob } from './test-jobs';

/** Slower earns nothing (policy: 90 % of the timeout). */
const LATEST_SHARE = 0.9;

export interface Done extends JobResult {
  job: TestJob;
}

/** The result of a small job, each made once however many checks look at it. */
export async function smallResult(probe: NativeProbe, kind: JobKind, variant: Variant = 0, round = 0): Promise<Done> {
  await probe.offer(kind);
  return probe.once(`${kind}-${variant}-${round}`, async () => {
    const job = await testJob(probe, kind, { variant });
    return { job, ...(await probe.result(job)) };
  });
}

/** As `smallResult`, for checks that are not about whether there is one. */
export async function givenResult(probe: NativeProbe, kind: JobKind, variant: Variant = 0, round = 0): Promise<Done> {
  const done = await smallResult(probe, kind, variant, round).catch((error: unknown) => {
    if (error instanceof Failure) return undefined;
    throw error;
  });
  if (done?.manifest.status !== 'completed') throw new Skip(`there is no result to look at: see ${kind}`);
  return done;
}

function works(kind: JobKind, how: string): Check<NativeProbe> {
  return {
    name: kind,
    requirement: `A real, small ${kind} ends with a result: ${how}.`,
    async run(probe) {
      const { job, manifest, callback, tookMs } = await smallResult(probe, kind);
      demand(
        manifest.status === 'completed',
        `the manifest says ${manifest.status}: ${manifest.error ?? 'no reason'}`,
        "see the miner's log for this job; its inputs are at the URLs it was given",
      );
      const { job_id, attempt } = job.request;
      demand(
        manifest.job_id === job_id && manifest.attempt === attempt,
        `the manifest is of job ${manifest.job_id}, attempt ${manifest.attempt}`,
        'repeat job_id and attempt of the request',
      );
      return `${callback ? 'by callback' : 'in the reply'}, after ${tookMs} ms`;
    },
  };
}

const inTime: Check<NativeProbe> = {
  name: 'in-time',
  requirement: 'A small job takes less than 90 % of its time limit: what is slower earns nothing.',
  async run(probe) {
    const kinds = ['lora-training', 'lora-inference'] as const;
    const results = await Promise.all(kinds.map((kind) => givenResult(probe, kind).catch(() => undefined)));
    const done = results.filter((result) => result !== undefined);
    if (done.length === 0) throw new Skip('there is no result to look at');
    for (const { job, tookMs } of done) {
      const { kind, timeout_ms: limit } = job.request;
      demand(
        tookMs < LATEST_SHARE * limit,
        `${kind} took ${tookMs} of ${limit} ms`,
        'use a faster engine, or fewer slots',
      );
    }
  },
};

const acceptance: Check<NativeProbe> = {
  name: 'acceptance',
  requirement: '202 says {"accepted":true,"job_id","attempt"} and is signed.',
  async run(probe) {
    const { job, answer, callback } = await givenResult(probe, 'lora-training');
    if (!callback) throw new Skip('this miner answers trainings at once');
    const said = JSON.parse(answer.body.toString()) as Record<string, unknown>;
    const { job_id, attempt } = job.request;
    demand(
      said.accepted === true && said.job_id === job_id && said.attempt === attempt,
      JSON.stringify(said),
      `answer ${JSON.stringify({ accepted: true, job_id, attempt })}`,
    );
    demandSigned(probe, answer);
  },
};

const signedCallback: Check<NativeProbe> = {
  name: 'callback-signed',
  requirement: 'A callback carries x-callback-secret and is signed by the miner for the hotkey that sent the job.',
  async run(probe) {
    const { job, callback } = await givenResult(probe, 'lora-training');
    if (!callback) throw new Skip('this miner answers trainings at once');
    demand(
      callback.headers['x-callback-secret'] === job.awaited.secret,
      'the secret is missing or another',
      'send callback.secret in the header x-callback-secret',
    );
    const { address } = probe.target.hotkey;
    const verdict = verifyRequest({ ...callback, nowMs: callback.atMs, recipient: address });
    if (!verdict.ok) {
      throw new Failure(
        verdict.message,
        'sign POST|path|sha256hex(body)|timestamp|nonce|recipient, afresh for every try',
      );
    }
    demand(verdict.hotkey === address, `it is signed by ${verdict.hotkey}`, `sign with the miner's hotkey, ${address}`);
  },
};

const signedResult: Check<NativeProbe> = {
  name: 'result-signed',
  requirement: 'A 200 is signed over exactly the bytes of its body: that is the receipt.',
  async run(probe) {
    const { answer, callback } = await givenResult(probe, 'lora-inference');
    if (callback) throw new Skip('this miner answers inference by callback');
    demandSigned(probe, answer);
  },
};

const partNames: Check<NativeProbe> = {
  name: 'part-names',
  requirement: 'After the manifest come the files: `lora`, or `image_0`, `image_1`, …, and the manifest lists them.',
  async run(probe) {
    let seenAny = false;
    for (const [kind, expected] of [
      ['lora-training', [LORA_PART]],
      ['lora-inference', [imagePart(0), imagePart(1)]],
    ] as const) {
      const done = await givenResult(probe, kind).catch(() => undefined);
      if (!done) continue;
      seenAny = true;
      const right = names(done.files) === expected.join(', ') && String(done.manifest.files) === String(expected);
      const seen = `${kind} has the parts ${names(done.files)}, and its manifest lists ${String(done.manifest.files)}`;
      demand(right, seen, `name them ${expected.join(', ')}`);
    }
    if (!seenAny) throw new Skip('there is no result to look at');
  },
};

export const RESULT_CHECKS: readonly Check<NativeProbe>[] = [
  works('lora-inference', '200 with the images, or 202 and a callback'),
  works('lora-training', '200 with the LoRA, or 202 and a callback'),
  inTime,
  acceptance,
  signedCallback,
  signedResult,
  partNames,
];
