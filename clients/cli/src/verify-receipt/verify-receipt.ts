/** Every check of a receipt, from the receipt and public keys alone. */
import type { JobReceipt, MinerReceipt, ReceiptMiner, SignedReceipt } from '@studio/shared/contract/receipt';
import type { JobInput } from '@studio/shared/domain/job';
import { netLatencyUs } from '@studio/shared/domain/latency';
import { canonicalHash } from '@studio/shared/protocol/canonical';
import { isSignedReceipt, minersFault } from '@studio/shared/protocol/receipt-signature';

/** Every check by its name, in the order of the report. */
const CHECKS = {
  orchestrator: 'the receipt is signed by the hotkey that it names',
  miner: 'the miner signed what it answered, to this orchestrator',
  input: 'the input has the hash that is signed, and so have its seed and file',
  times: 'it was asked, answered and finished in this order, and the net latency follows from the others',
  'input-file': 'the file given is the one that went in',
  'output-files': 'the files given are among those that came out',
} as const;

export type CheckName = keyof typeof CHECKS;

export interface GivenFile {
  path: string;
  sha256: string;
}

export interface Given {
  /** Hotkey that has to have signed. */
  orchestratorKey?: string;
  input?: GivenFile;
  outputs?: readonly GivenFile[];
}

export interface CheckResult {
  name: CheckName;
  says: string;
  problems: string[];
  /** Why it was not made; undefined when it was. */
  skipped?: string;
  /** What else is worth knowing. */
  note?: string;
}

export interface CheckedReceipt {
  ok: boolean;
  checks: CheckResult[];
  receipt: JobReceipt;
}

type Finding = Partial<Pick<CheckResult, 'problems' | 'skipped' | 'note'>>;
type Problem = string | false | undefined;

export function verifyReceipt({ receipt, signature, input }: SignedReceipt, given: Given = {}): CheckedReceipt {
  const found: Record<CheckName, Finding> = {
    orchestrator: ofOrchestrator(receipt, signature, given.orchestratorKey),
    miner: ofMiner(receipt),
    input: ofInput(receipt, input),
    times: ofTimes(receipt),
    'input-file': ofInputFile(receipt, given.input),
    'output-files': ofOutputs(receipt, given.outputs ?? []),
  };
  const checks = (Object.keys(CHECKS) as CheckName[]).map((name) => ({
    name,
    says: CHECKS[name],
    problems: [],
    ...found[name],
  }));
  return { ok: checks.every(({ problems }) => problems.length === 0), checks, receipt };
}

function ofOrchestrator(receipt: JobReceipt, signature: string, key?: string): Finding {
  const { orchestrator } = receipt;
  return {
    ...problems(
      !isSignedReceipt(receipt, signature) && `the signature is not one of ${orchestrator} over this receipt`,
      key !== undefined && key !== orchestrator && `it is signed by ${orchestrator}, not by ${key}`,
    ),
    note: key === undefined ? `by ${orchestrator}; compare it, or give --orchestrator-key` : `by ${key}, as given`,
  };
}

function ofMiner({ job_id: jobId, orchestrator, state, miner }: JobReceipt): Finding {
  if (!miner)
    return state === 'succeeded'
      ? problems('the job succeeded, and no miner is named')
      : { skipped: `the job has no result: it ${state}` };
  const { signed, dialect, hotkey } = miner;
  if (!signed) {
    return dialect === 'native'
      ? problems(`the native contract has signatures, and that of ${hotkey} is missing`)
      : {
          skipped: `miners of the ${dialect} dialect sign no results; that ${hotkey} did it is the orchestrator's word`,
        };
  }
  return {
    ...problems(
      signed.hotkey !== hotkey && `signed by ${signed.hotkey}, the result is said to be of ${hotkey}`,
      signed.recipient !== orchestrator && `signed for ${signed.recipient}, not for ${orchestrator}`,
      signedElsewhere(signed, jobId, miner),
      minersFault(signed),
    ),
    note: `by ${hotkey}, over the body of SHA-256 ${signed.body_sha256}`,
  };
}

/** A callback's signature names the attempt; a reply's names the nonce of its question, which the orchestrator says it asked. */
function signedElsewhere(signed: MinerReceipt, jobId: string, { attempt }: ReceiptMiner): Problem {
  if (signed.form === 'reply')
    return signed.status !== 200 && `signed with the status ${signed.status}, which is no result`;
  return (
    !signed.path.endsWith(`/${jobId}/${attempt}`) &&
    `signed for ${signed.path}, which is not this job's attempt ${attempt}`
  );
}

function ofInput(receipt: JobReceipt, input: JobInput | undefined): Finding {
  if (input === undefined) return { skipped: 'the input was left out of the file; its hash is signed' };
  const file = 'image' in input ? input.image : input.lora;
  return problems(
    canonicalHash(input) !== receipt.input_sha256 &&
      `the input has the hash ${canonicalHash(input)}, signed is ${receipt.input_sha256}`,
    input.seed !== receipt.seed && `the input's seed is ${input.seed}, signed is ${receipt.seed}`,
    file?.sha256 !== receipt.input_file_sha256 &&
      `the input's file is ${file?.sha256}, signed is ${receipt.input_file_sha256}`,
  );
}

function ofTimes({ issued_at: issued, created_at: created, finished_at: finished, miner }: JobReceipt): Finding {
  const ordered = miner ? [created, miner.sent_at, miner.finished_at, finished, issued] : [created, finished, issued];
  const wrong = ordered.findIndex((time, index) => !(Date.parse(time) >= Date.parse(ordered[index - 1] ?? time)));
  return problems(
    wrong >= 0 && `${ordered[wrong]} comes after ${ordered[wrong - 1] ?? 'nothing'} and is earlier, or is no time`,
    miner &&
      netLatencyUs(miner.raw_us, miner.credit_us) !== miner.net_us &&
      `${miner.raw_us} µs less ${miner.credit_us} µs are not ${miner.net_us} µs`,
  );
}

function ofInputFile({ input_file_sha256: sha256 }: JobReceipt, input?: GivenFile): Finding {
  if (!input) return { skipped: 'no --input was given' };
  return problems(input.sha256 !== sha256 && `${input.path} has the hash ${input.sha256}, the receipt says ${sha256}`);
}

function ofOutputs({ outputs }: JobReceipt, given: readonly GivenFile[]): Finding {
  if (given.length === 0) return { skipped: `no --output was given, of ${outputs.length}` };
  const known = new Set(outputs.map(({ sha256 }) => sha256));
  return {
    ...problems(
      ...given.map(
        ({ path, sha256 }) => !known.has(sha256) && `${path} has the hash ${sha256}, which is none that came out`,
      ),
    ),
    note: `${given.length} of ${outputs.length}`,
  };
}

function problems(...found: (Problem | null)[]): { problems: string[] } {
  return { problems: found.filter((problem): problem is string => Boolean(problem)) };
}
