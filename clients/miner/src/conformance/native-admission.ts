/** Who may ask: signatures, as the orchestrator makes them and as strangers would. */
import { randomBytes, randomUUID } from 'node:crypto';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { MAX_CLOCK_SKEW_MS, verifyReply } from '@studio/shared/protocol/signatures';
import { type Check, Failure, Skip, demand } from './check';
import { type Answer, type NativeProbe, type Signing, excerpt } from './native-probe';

/** Refused by what it says (422), so that a miner that lets it through does no work. */
const IDLE = JSON.stringify({ job_id: 'none', attempt: 1, kind: 'lora-training', engine: 'none' });
const BEYOND_MS = 3 * MAX_CLOCK_SKEW_MS;

const ask = (probe: NativeProbe, how: Signing = {}): Promise<Answer> => probe.signed('POST', 'v1/jobs', IDLE, how);

/** A check that a wrongly signed request is refused. It proves nothing where the right one is refused as well. */
function refusal(
  name: string,
  requirement: string,
  how: (probe: NativeProbe) => Signing,
  change: string,
): Check<NativeProbe> {
  return {
    name,
    requirement,
    async run(probe) {
      const right = await ask(probe);
      demand(
        right.status === 422,
        `a job signed by the miner's own hotkey was answered ${right.status} ${excerpt(right.body)}`,
        'take requests that the miner itself signed, by their signature: the self-test sends them (and set the clock)',
      );
      const { status } = await ask(probe, how(probe));
      demand(status === 401 || status === 403, `it was answered ${status}`, change);
    },
  };
}

const EVERYBODY = /"orchestrator":null/;

/** A miner that says it takes anybody's jobs is not asked to refuse them. */
async function unlessOpen(probe: NativeProbe): Promise<void> {
  const { body } = await probe.get('v1/health');
  if (EVERYBODY.test(body.toString())) {
    throw new Skip(
      'this miner takes jobs from anybody: set REGISTRY_URL or MINER_ORCHESTRATOR before others can reach it',
    );
  }
}

function closedOnly(check: Check<NativeProbe>): Check<NativeProbe> {
  return { ...check, run: (probe) => unlessOpen(probe).then(() => check.run(probe)) };
}

const replayed: Check<NativeProbe> = {
  name: 'replay-refused',
  requirement: 'A nonce is accepted once.',
  async run(probe) {
    const how = { nonce: randomUUID(), nowMs: Date.now() };
    const first = await ask(probe, how);
    if (first.status === 401) throw new Skip('the miner refuses its own signature: see the checks above');
    const again = await ask(probe, how);
    demand(
      again.status === 401 || again.status === 403,
      `the same signed request was answered ${first.status}, and then ${again.status}`,
      'remember the nonces of the last 20 seconds, and refuse one that was used',
    );
  },
};

const signedReply: Check<NativeProbe> = {
  name: 'refusals-signed',
  requirement: 'A signed question gets a signed answer, a refusal too: status|sha256hex(body)|nonce|recipient.',
  async run(probe) {
    const answer = await ask(probe);
    demandSigned(probe, answer);
  },
};

/** @throws Failure where the answer is not signed over exactly the bytes that came. */
export function demandSigned(probe: NativeProbe, answer: Answer): void {
  const { address } = probe.target.hotkey;
  const verdict = verifyReply({ ...answer, recipient: address, expectedHotkey: address });
  if (!verdict.ok) {
    throw new Failure(
      `the ${answer.status} reply: ${verdict.message}`,
      'sign status|sha256hex(body)|request nonce|recipient, over the bytes that are sent (no compression behind it)',
    );
  }
}

export const ADMISSION_CHECKS: readonly Check<NativeProbe>[] = [
  closedOnly(
    refusal(
      'unsigned-refused',
      'A request without a signature is refused.',
      () => ({ unsigned: true }),
      'refuse it with 401: anybody could use this miner',
    ),
  ),
  closedOnly(
    refusal(
      'stranger-refused',
      'Only the orchestrator and the miner itself are served.',
      () => ({ signer: hotkeyFromSeed(randomBytes(32).toString('hex')) }),
      'refuse hotkeys other than the orchestrator of the registry (GET /v1/identity) and your own with 401',
    ),
  ),
  refusal(
    'wrong-recipient-refused',
    'A request that is signed for another miner is refused.',
    () => ({ recipient: hotkeyFromSeed('77'.repeat(32)).address }),
    'compare x-studio-recipient with your own hotkey',
  ),
  refusal(
    'stale-refused',
    'A timestamp more than 10 s in the past is refused.',
    () => ({ nowMs: Date.now() - BEYOND_MS }),
    'compare x-studio-timestamp with your clock',
  ),
  refusal(
    'future-refused',
    'A timestamp more than 10 s in the future is refused.',
    () => ({ nowMs: Date.now() + BEYOND_MS }),
    'compare x-studio-timestamp with your clock in both directions: the future stretches the life of a replay',
  ),
  refusal(
    'changed-body-refused',
    'The signature covers every byte of the body.',
    () => ({ signedBody: IDLE.replace('1', '2') }),
    'verify over sha256 of the bytes as they came, before anything parses them',
  ),
  refusal(
    'other-path-refused',
    'The signature covers method and path.',
    (probe) => ({ signedPath: `${probe.pathOf('v1/jobs')}/other` }),
    'verify over the method and the path as they came',
  ),
  replayed,
  signedReply,
];
