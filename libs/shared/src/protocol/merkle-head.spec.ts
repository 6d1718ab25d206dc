import { hotkeyFromSeed, signText } from './hotkey';
import { headHash, headMessage, isSignedHead, signHead } from './merkle-head';

const key = hotkeyFromSeed('11'.repeat(32));
const head = { kind: 'epoch', name: '3', root: 'ab'.repeat(32), signer: key.address };
const otherRoot = { ...head, root: 'cd'.repeat(32) };
const otherName = { ...head, name: '4' };

describe('a signed head', () => {
  it('is good for itself alone', () => {
    const signature = signHead(head, key);
    expect(isSignedHead(head, signature)).toBe(true);
    expect(isSignedHead(otherRoot, signature)).toBe(false);
    expect(isSignedHead({ ...head, signer: hotkeyFromSeed('22'.repeat(32)).address }, signature)).toBe(false);
    expect(
      isSignedHead(
        head,
        signature.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
      ),
    ).toBe(false);
    expect(isSignedHead(head, 'no signature')).toBe(false);
  });

  it('says what it is, so that no other text of the hotkey passes for it', () => {
    expect(headMessage(head)).toBe(
      `studio-export-head-v1|{"kind":"epoch","name":"3","root":"${'ab'.repeat(32)}","signer":"${key.address}"}`,
    );
    expect(isSignedHead(head, signText(key, headMessage(head).split('|')[1]!))).toBe(false);
  });

  it('has one hash, in whatever order its fields are', () => {
    const turned = Object.fromEntries(Object.entries(head).reverse()) as typeof head;
    expect(headHash(turned)).toBe(headHash(head));
    expect(headHash(otherName)).not.toBe(headHash(head));
  });
});
