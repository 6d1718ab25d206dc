import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { drawU, opensCommitment } from './draws';

const anySecret = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('u', () => {
  it('is the first 8 bytes of HMAC-SHA256 over the 36 characters of the job id, in either case', () => {
    fc.assert(
      fc.property(anySecret, fc.uuid(), (secret, jobId) => {
        const expected = createHmac('sha256', secret).update(jobId, 'ascii').digest().readBigUInt64BE();
        expect(drawU(secret, jobId)).toBe(expected);
        expect(drawU(secret, jobId.toUpperCase())).toBe(expected);
      }),
    );
  });

  it('has this value for this secret and job, computed with OpenSSL', () => {
    const secret = Buffer.from('00112233445566778899aabbccddeeff'.repeat(2), 'hex');
    expect(drawU(secret, '0190a5d8-0000-7000-8000-000000000001')).toBe(0xb813fc12a15d45b3n);
  });
});

describe('a commitment', () => {
  it('is opened by its own secret alone', () => {
    fc.assert(
      fc.property(anySecret, anySecret, (secret, other) => {
        const commitment = createHash('sha256').update(secret).digest('hex');
        const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
        expect(opensCommitment(hex(secret), commitment)).toBe(true);
        expect(opensCommitment(hex(other), commitment)).toBe(hex(other) === hex(secret));
      }),
    );
  });

  it.each(['', 'ab'.repeat(31), `${'ab'.repeat(32)}ab`, 'AB'.repeat(32), 'zz'.repeat(32)])(
    'is not opened by %p, which is no secret',
    (text) => {
      const commitment = createHash('sha256').update(Buffer.from(text, 'hex')).digest('hex');
      expect(opensCommitment(text, commitment)).toBe(false);
    },
  );
});
