import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Algorithms, encodeUser, fromSeed, parseCreds, type KeyPair, type User } from '@nats-io/jwt';
import { base32nopad } from '@scure/base';

/** DER of an ed25519 key, up to its 32 bytes. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/**
 * Signs validators' tokens with the scoped key of the account SCORES. What a token allows stands in the account, not in the
 * token: with this key nobody can be made who may do more than listen to one subject.
 */
export class ValidatorTokens {
  private constructor(
    private readonly account: string,
    private readonly signer: KeyPair,
  ) {}

  /** @throws Error that names the file which cannot be read. */
  static async read({
    registryCreds,
    signingKey,
  }: {
    registryCreds: string;
    signingKey: string;
  }): Promise<ValidatorTokens> {
    // The credentials say which account they are of.
    const { aid } = await parseCreds(readFileSync(registryCreds));
    return new ValidatorTokens(aid, nativeSigner(readFileSync(signingKey, 'utf8').trim()));
  }

  /**
   * @param name of the validator, which becomes a token of its subject.
   * @param nkey its public user key (`U…`): the token is of use only together with its seed.
   * @param widened rights that the server has to refuse: for tests.
   */
  sign(name: string, nkey: string, expiresAtS: number, widened: Partial<User> = {}): Promise<string> {
    const scoped = { algorithm: Algorithms.v2, signer: this.signer, scopedUser: true, exp: expiresAtS };
    return encodeUser(name, nkey, this.account, { ...widened }, scoped);
  }
}

/** The library signs in JavaScript and derives the key each time: 18 ms of the event loop for a token, 0.3 ms so. */
function nativeSigner(seed: string): KeyPair {
  const keys = fromSeed(new Uint8Array(Buffer.from(seed)));
  const publicKey = keys.getPublicKey();
  // Two bytes of kind, the key, two of checksum.
  const der = Buffer.concat([PKCS8_ED25519, base32nopad.decode(seed).subarray(2, 34)]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return Object.assign(Object.create(keys) as KeyPair, {
    getPublicKey: () => publicKey,
    // Only asked for to see that there is one.
    getPrivateKey: () => new Uint8Array(),
    sign: (text: Uint8Array) => new Uint8Array(sign(null, text, key)),
  });
}
