/**
 * Loaded into the registry before its own code (`node --require`): while the flag file exists, signatures are checked
 * where they were before there were threads, on the event loop and in pure JavaScript. The product has no such switch.
 */
import { existsSync } from 'node:fs';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { verifyText } from '@studio/shared/protocol/hotkey';
import { verifyOnLoopFlag } from './env';

const flag = verifyOnLoopFlag();
const threads = SignatureThreads.prototype as { verify: SignatureThreads['verify'] };
const inThread = threads.verify;

threads.verify = async function (this: SignatureThreads, ...claim) {
  return existsSync(flag) ? verifyText(...claim) : inThread.apply(this, claim);
};
