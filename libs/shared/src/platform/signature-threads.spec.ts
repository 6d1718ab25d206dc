import { hotkeyFromSeed, signText, verifyText } from '../protocol/hotkey';
import { SignatureThreads } from './signature-threads';

const SEED = '11'.repeat(32);
const hotkey = hotkeyFromSeed(SEED);
const signature = signText(hotkey, 'text – ünïcode');

describe('the signature threads', () => {
  const threads = new SignatureThreads();
  afterAll(() => threads.close());

  it('sign and verify as the plain functions do', async () => {
    const signer = threads.signer(SEED);
    expect(signer.address).toBe(hotkey.address);
    expect(verifyText(hotkey.address, 'text – ünïcode', await signer.sign('text – ünïcode'))).toBe(true);
    expect(await threads.verify(hotkey.address, 'text – ünïcode', signature)).toBe(true);
    expect(await threads.verify(hotkey.address, 'text - ünïcode', signature)).toBe(false);
  });

  it('give everybody who asks at once an answer of its own', async () => {
    const signer = threads.signer('22'.repeat(32));
    const asked = Array.from({ length: 100 }, async (_, index) => {
      if (index % 3 === 0) return verifyText(signer.address, `${index}`, await signer.sign(`${index}`));
      return threads.verify(hotkey.address, index % 3 === 1 ? 'text – ünïcode' : 'another text', signature);
    });
    expect(await Promise.all(asked)).toEqual(asked.map((_, index) => index % 3 !== 2));
  });

  it.each([
    ['an empty signature', hotkey.address, ''],
    ['a short signature', hotkey.address, '0x1234'],
    ['a signature without 0x', hotkey.address, '00'.repeat(64)],
    ['a signature of 65 bytes', hotkey.address, `${signature}00`],
    ['a signature in upper case', hotkey.address, `0x${signature.slice(2).toUpperCase()}`],
    ['a signature of zeros', hotkey.address, `0x${'00'.repeat(64)}`],
    ['a signature that is no point on the curve', hotkey.address, `0x${'ff'.repeat(64)}`],
    ['an empty address', '', signature],
    ['an address of another network', '15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5', signature],
  ])('call %s wrong instead of throwing', async (_, address, text) => {
    expect(await threads.verify(address, 'text – ünïcode', text)).toBe(false);
  });

  it('refuse a malformed seed without repeating it', () => {
    const seed = `${'ab'.repeat(31)}zz`;
    expect(() => threads.signer(seed)).toThrow(RangeError);
    expect(() => threads.signer(seed)).not.toThrow(new RegExp(seed));
  });
});

describe('signature threads that are asked too much', () => {
  it('refuse what goes beyond their limit, answer the rest, and then take new work', async () => {
    const threads = new SignatureThreads({ maxPending: 3 });
    const ask = (): Promise<boolean> => threads.verify(hotkey.address, 'text – ünïcode', signature);
    const answers = await Promise.allSettled([ask(), ask(), ask(), ask(), threads.signer(SEED).sign('text')]);
    expect(answers.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'fulfilled', 'fulfilled'],
      ...['rejected', 'rejected'],
    ]);
    expect(answers[3]).toMatchObject({ reason: { code: 'DEPENDENCY_DOWN' } });
    expect(await ask()).toBe(true);
    await threads.close();
  });

  it('refuse nothing that is no signature: it takes no place', async () => {
    const threads = new SignatureThreads({ maxPending: 0 });
    expect(await threads.verify(hotkey.address, 'text – ünïcode', '0x1234')).toBe(false);
    await threads.close();
  });

  it('answer what they took before they close', async () => {
    const threads = new SignatureThreads();
    const asked = Array.from({ length: 50 }, () => threads.verify(hotkey.address, 'text – ünïcode', signature));
    await threads.close();
    expect(await Promise.all(asked)).toEqual(asked.map(() => true));
  });
});
