/**
 * The account SCORES of a NATS server in operator mode: its keys, and who gets which rights in it.
 *
 *     operator ─signs─▶ account SCORES ─signs─▶ the registry: may do everything in the account
 *                                      └─lends─▶ signing key ─signs─▶ validators: may listen to one subject, say nothing
 *
 * The signing key is *scoped*: the server takes a validator's rights from the account, never from its token, so that
 * whoever gets hold of that key can make listeners and nothing else. The registry reads two of the files. The seeds of
 * operator and account are needed by no process.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Algorithms,
  createAccount,
  createOperator,
  createUser,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
  newScopedSigner,
  type KeyPair,
  type SigningKey,
} from '@nats-io/jwt';

/**
 * What a validator may listen to: the server puts the name of its token in. Spelled as in contract/subjects.ts, which
 * cannot be imported here: Jest's global setup runs without the workspace's sources. A test holds the two together.
 */
export const VALIDATOR_SUBJECT = 'deliver.{{name()}}';

const V2 = { algorithm: Algorithms.v2 };

/** Limits that are left out count as 0, and nothing works: -1 is none. */
const UNLIMITED = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
/** For the one account that has JetStream; the system account may not. */
const JETSTREAM = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** One for what it listens to, one to spare. */
const VALIDATOR_SUBSCRIPTIONS = 2;
/** It may publish nothing, so nothing needs room. */
const VALIDATOR_PAYLOAD_BYTES = 16;

/** What lies in the directory of an account. */
export interface ScoresAccountFiles {
  /** Lines for the configuration of nats-server: operator, accounts, resolver. Public. */
  serverConfig: string;
  /** Credentials of the registry. */
  registryCreds: string;
  /** Seed of the scoped signing key. */
  signingKey: string;
  /** Seed of the account itself: to change its limits, or to revoke. Keep it where no process reads it. */
  accountSeed: string;
  operatorSeed: string;
}

export function scoresAccountFiles(dir: string): ScoresAccountFiles {
  return {
    serverConfig: join(dir, 'accounts.conf'),
    registryCreds: join(dir, 'registry.creds'),
    signingKey: join(dir, 'validators.seed'),
    accountSeed: join(dir, 'account.seed'),
    operatorSeed: join(dir, 'operator.seed'),
  };
}

/** Makes the account in `dir` unless it is there, and returns where its files lie; all but the first are secrets. */
export async function openScoresAccount(dir: string): Promise<ScoresAccountFiles> {
  const files = scoresAccountFiles(dir);
  // Written last: where it is, the others are.
  if (existsSync(files.serverConfig)) return files;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const [operator, account, signer, system] = [createOperator(), createAccount(), createAccount(), createAccount()];
  const user = createUser();
  writeSecret(files.operatorSeed, seedOf(operator));
  writeSecret(files.accountSeed, seedOf(account));
  writeSecret(files.signingKey, seedOf(signer));
  const registry = await encodeUser('registry', user, account, {}, V2);
  writeSecret(files.registryCreds, Buffer.from(fmtCreds(registry, user)).toString());
  writeSecret(files.serverConfig, await serverConfig(operator, account, system, validatorScope(signer)));
  return files;
}

/** What every validator may do, whatever its token says. */
function validatorScope(signer: KeyPair): SigningKey {
  const scope = newScopedSigner(signer, 'validator', {
    pub: { deny: ['>'] },
    sub: { allow: [VALIDATOR_SUBJECT] },
    subs: VALIDATOR_SUBSCRIPTIONS,
    payload: VALIDATOR_PAYLOAD_BYTES,
  });
  // The library writes `resp: {max: 0, ttl: 0}`, which the server reads as its default: one answer to every message.
  delete scope.template.resp;
  return scope;
}

async function serverConfig(operator: KeyPair, account: KeyPair, system: KeyPair, scope: SigningKey): Promise<string> {
  const names = { system: system.getPublicKey(), scores: account.getPublicKey() };
  const signed = { ...V2, signer: operator };
  const operatorJwt = await encodeOperator('studio', operator, { system_account: names.system }, V2);
  const systemJwt = await encodeAccount('SYS', system, { limits: UNLIMITED }, signed);
  const limits = { ...UNLIMITED, ...JETSTREAM };
  const scoresJwt = await encodeAccount('SCORES', account, { limits, signing_keys: [scope] }, signed);
  return [
    `operator: ${operatorJwt}`,
    `system_account: ${names.system}`,
    'resolver: MEMORY',
    `resolver_preload {\n  ${names.system}: ${systemJwt}\n  ${names.scores}: ${scoresJwt}\n}`,
    '',
  ].join('\n');
}

function seedOf(keys: KeyPair): string {
  return Buffer.from(keys.getSeed()).toString();
}

/** Whole or not at all; readable by its owner only. */
function writeSecret(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
