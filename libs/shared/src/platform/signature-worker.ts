/**
 * Entry of the signature threads. wasm-crypto is called directly: its own sr25519 functions take the message as it is,
 * while `signatureVerify` of util-crypto guesses the key type and accepts wrapped messages.
 */
import { sr25519Sign, sr25519Verify, waitReady } from '@polkadot/wasm-crypto';
import { verificationKey } from '../protocol/hotkey';

export type Task =
  | { do: 'sign'; message: string; publicKey: Uint8Array; secretKey: Uint8Array }
  | { do: 'verify'; message: string; address: string; signature: string };

const started = waitReady();

/** One answer per task, in their order: the signature as 0x-hex, or whether it is genuine. */
export async function run(tasks: Task[]): Promise<(string | boolean)[]> {
  if (!(await started)) throw new Error('this Node runs no WebAssembly: signatures cannot be computed');
  return tasks.map((task) => (task.do === 'sign' ? sign(task) : verify(task)));
}

function sign({ message, publicKey, secretKey }: Extract<Task, { do: 'sign' }>): string {
  return `0x${Buffer.from(sr25519Sign(publicKey, secretKey, Buffer.from(message))).toString('hex')}`;
}

/** As `verifyText` of protocol/hotkey.ts answers for a well-formed signature. */
function verify({ message, address, signature }: Extract<Task, { do: 'verify' }>): boolean {
  const publicKey = verificationKey(address);
  return !!publicKey && sr25519Verify(Buffer.from(signature.slice(2), 'hex'), Buffer.from(message), publicKey);
}
