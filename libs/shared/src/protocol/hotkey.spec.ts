import { hotkeyFromSeed, signText, verifyText } from './hotkey';
import { encodeSs58 } from './ss58';

const ALICE_SEED = '0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a';

describe('hotkeys', () => {
  it('derive the well-known address from the well-known seed', () => {
    expect(hotkeyFromSeed(ALICE_SEED).address).toBe('5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY');
  });

  it('accept a signature made by another implementation (schnorrkel in polkadot-js)', () => {
    const address = encodeSs58(Buffer.from('f84d048da2ddae2d9d8fd6763f469566e8817a26114f39408de15547f6d47805', 'hex'));
    const signature =
      '0x48ce2c90e08651adfc8ecef84e916f6d1bb51ebebd16150ee12df247841a5437951ea0f9d632ca165e6ab391532e75e701be6a1caa88c8a6bcca3511f55b4183';
    expect(verifyText(address, '<Bytes>message to sign</Bytes>', signature)).toBe(true);
    // The unwrapped message is another message: no guessing.
    expect(verifyText(address, 'message to sign', signature)).toBe(false);
  });

  it('verify their own signatures and nothing else', () => {
    const [one, other] = [hotkeyFromSeed('11'.repeat(32)), hotkeyFromSeed('22'.repeat(32))];
    const signature = signText(one, 'text – ünïcode');
    expect(verifyText(one.address, 'text – ünïcode', signature)).toBe(true);
    expect(verifyText(one.address, 'text - ünïcode', signature)).toBe(false);
    expect(verifyText(other.address, 'text – ünïcode', signature)).toBe(false);
  });

  it.each([
    ['empty', ''],
    ['too short', '0x1234'],
    ['without 0x', '00'.repeat(64)],
    ['zero', `0x${'00'.repeat(64)}`],
    ['no point on the curve', `0x${'ff'.repeat(64)}`],
  ])('call a signature that is %s wrong instead of throwing', (_, signature) => {
    expect(verifyText(hotkeyFromSeed('11'.repeat(32)).address, 'text', signature)).toBe(false);
  });

  it('refuse a malformed seed without repeating it', () => {
    const seed = `${'ab'.repeat(31)}zz`;
    expect(() => hotkeyFromSeed(seed)).toThrow(RangeError);
    expect(() => hotkeyFromSeed(seed)).not.toThrow(new RegExp(seed));
  });
});
