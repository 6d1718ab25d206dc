import { readFile } from 'node:fs/promises';
import pc from 'picocolors';
import type { MinerOffer } from '@studio/shared/contract/miners';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { CallbackListener } from '../conformance/callback-listener';
import { type Check, type Finding, runChecks } from '../conformance/check';
import { DIPPY_CHECKS } from '../conformance/dippy-checks';
import { DippyProbe } from '../conformance/dippy-probe';
import { NATIVE_CHECKS } from '../conformance/native-checks';
import { NativeProbe } from '../conformance/native-probe';
import { EnvError, SelfTestEnv, type Variables, readEnv } from '../env';
import { loadHotkey } from '../key-file';
import { RegistryClient, RegistryError } from '../registry-client';
import { say, tell } from './say';

export interface SelfTestOptions {
  json: boolean;
  /** Names of checks; all where not given. */
  only?: readonly string[];
}

/** Runs the conformance suite against a miner. Resolves with whether nothing failed. */
export async function selfTest(variables: Variables, options: SelfTestOptions): Promise<boolean> {
  const env = readEnv(SelfTestEnv, variables);
  const hotkey = await loadHotkey(env);
  const listener = await listen(env);
  try {
    const show = options.json ? undefined : (finding: Finding): void => say(lineOf(finding));
    if (show) tell(`${env.MINER_DIALECT} contract, ${env.endpoint}, hotkey ${hotkey.address}\n`);
    const findings = await findingsOf(env, hotkey, listener, options.only, show);
    say(options.json ? JSON.stringify(findings, null, 2) : summaryOf(findings));
    return findings.every(({ result }) => result !== 'fail');
  } finally {
    await listener.close();
  }
}

async function findingsOf(
  env: SelfTestEnv,
  hotkey: Hotkey,
  listener: CallbackListener,
  only: readonly string[] | undefined,
  show: ((finding: Finding) => void) | undefined,
): Promise<Finding[]> {
  const patienceMs = env.SELF_TEST_PATIENCE_S * 1000;
  const target = { endpoint: env.endpoint, hotkey, patienceMs };
  if (env.MINER_DIALECT === 'dippy') {
    const probe = new DippyProbe({ ...target, ...(env.SELF_TEST_LORA && { lora: env.SELF_TEST_LORA }) }, listener);
    return runChecks(chosen(DIPPY_CHECKS, only), probe, show).finally(() => probe.close());
  }
  const [lora, registered] = [await loraOf(env), await registeredOffers(env, hotkey)];
  const probe = new NativeProbe({ ...target, ...(lora && { lora }), ...(registered && { registered }) }, listener);
  return runChecks(chosen(NATIVE_CHECKS, only), probe, show).finally(() => probe.close());
}

function chosen<P>(checks: readonly Check<P>[], only: readonly string[] | undefined): readonly Check<P>[] {
  const unknown = only?.filter((name) => !checks.some((check) => check.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new EnvError(
      `--only: no check ${unknown.join(', ')}; there are ${checks.map(({ name }) => name).join(', ')}`,
    );
  }
  return only ? checks.filter(({ name }) => only.includes(name)) : checks;
}

async function listen(env: SelfTestEnv): Promise<CallbackListener> {
  const { SELF_TEST_HOST: host, SELF_TEST_PORT: port, SELF_TEST_CALLBACK_URL: url } = env;
  return CallbackListener.open(host, port, url).catch((error: NodeJS.ErrnoException) => {
    throw new EnvError(`the listener for callbacks cannot open ${host}:${port} (${error.code}): set SELF_TEST_PORT`);
  });
}

async function loraOf({ SELF_TEST_LORA: path }: SelfTestEnv): Promise<Buffer | undefined> {
  if (!path) return undefined;
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new EnvError(`SELF_TEST_LORA: ${path} cannot be read (${error.code})`);
  });
}

/** What the registry holds; nothing where it is not asked. @throws RegistryError where it cannot say. */
async function registeredOffers(env: SelfTestEnv, hotkey: Hotkey): Promise<readonly MinerOffer[] | undefined> {
  if (!env.REGISTRY_URL) return undefined;
  return new RegistryClient(env.REGISTRY_URL, hotkey).view().then(
    ({ offers }) => offers,
    (error: unknown) => {
      if (error instanceof RegistryError) tell(`not compared with the registration: ${error.message}`);
      return undefined;
    },
  );
}

const SIGNS = { pass: pc.green('ok  '), fail: pc.red('FAIL'), skip: pc.yellow('skip') } as const;
/** The longest name of a check, and some room. */
const NAME_WIDTH = 24;

/** One line; a failure explains itself in three more. */
export function lineOf(finding: Finding): string {
  const head = `${SIGNS[finding.result]}  ${finding.name.padEnd(NAME_WIDTH)}`;
  if (finding.result === 'fail') {
    const { requirement, seen, change } = finding;
    return `${head} ${requirement}\n        seen:    ${seen}\n        change:  ${change}`;
  }
  const remark = finding.result === 'pass' ? finding.seen : finding.why;
  return `${head} ${finding.requirement}${remark ? pc.dim(` — ${remark}`) : ''}`;
}

export function summaryOf(findings: readonly Finding[]): string {
  const count = (result: Finding['result']): number => findings.filter((finding) => finding.result === result).length;
  const failed = count('fail');
  const verdict = failed === 0 ? 'The miner keeps the contract.' : 'The miner does not keep the contract yet.';
  return `\n${count('pass')} passed, ${failed} failed, ${count('skip')} skipped. ${verdict}`;
}
