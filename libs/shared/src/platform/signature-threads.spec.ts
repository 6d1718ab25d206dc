import { hotkeyFromSeed, signText, verifyText } from '../protocol/hotkey';
import { SignatureThreads } from './signature-threads';

const SEED = '11'.repeat(32);

describe('the signature threads', () => {
  const threads = new SignatureThreads();
  afterAll(() => threads.close());

  it('sign and verify as the plain functions do', async () => {
    const hotkey = hotkeyFromSeed(SEED);
    const signer = threads.signer(SEED);
    const signature = await signer.sign('text – ünïcode');
    expect(signer.address).toBe(hotkey.address);
    expect(verifyText(hotkey.address, 'text – ünïcode', signature)).toBe(true);
    const plain = signText(hotkey, 'text – ünïcode');
    expect(await threads.verify(hotkey.address, 'text – ünïcode', plain)).toBe(true);
    expect(await threads.verify(hotkey.address, 'text - ünïcode', plain)).toBe(false);
  });
});
