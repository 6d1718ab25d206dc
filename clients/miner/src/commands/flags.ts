import type { Command } from 'commander';
import { EnvError, type Variables } from '../env';

/** What each variable is for, as `--help` says it. A seed has no flag: command lines are seen by every user. */
const MEANINGS = {
  MINER_KEY_FILE: 'file with the hotkey (default .data/miner/hotkey.json)',
  REGISTRY_URL: 'the registry',
  MINER_ENDPOINT: 'URL where the orchestrator reaches the miner',
  MINER_HOST: 'address to listen on (default 127.0.0.1; 0.0.0.0 for all)',
  MINER_PORT: 'port to listen on (default 8080)',
  MINER_ORCHESTRATOR: 'the only hotkey whose jobs are taken (default: whom the registry names)',
  MINER_OPERATOR: 'who owns the miner (default: its hotkey)',
  MINER_ENGINE: 'ref-sep-v1, http or command (default ref-sep-v1)',
  MINER_SLOTS_TRAINING: 'trainings at the same time (default 1)',
  MINER_SLOTS_INFERENCE: 'inference jobs at the same time (default 4)',
  MINER_DATA_DIR: 'accepted jobs, inputs, results (default .data/miner)',
  MINER_REPLY: 'auto, sync or callback (default auto)',
  MINER_NAME: 'label of the log lines (default miner)',
  MINER_DIALECT: 'native, or dippy for an existing Dippy Studio miner (default native)',
  METRICS_PORT: 'port of /metrics (default: beside the jobs)',
  METRICS_HOST: 'address of /metrics (default 127.0.0.1)',
  LOG_LEVEL: 'trace, debug, info, warn, error, fatal or silent (default info)',
  SELF_TEST_HOST: 'address to listen on for callbacks (default 127.0.0.1)',
  SELF_TEST_PORT: 'port to listen on for callbacks (default: any)',
  SELF_TEST_CALLBACK_URL: 'how the miner reaches that listener, where it is on another host',
  SELF_TEST_LORA: 'a LoRA file that the engine can render (needed for flux)',
  SELF_TEST_PATIENCE_S: 'longest wait for one result, in seconds (default 120)',
} as const;

export type FlagName = keyof typeof MEANINGS;

export const KEY_FLAGS: readonly FlagName[] = ['MINER_KEY_FILE'];
export const REGISTRY_FLAGS: readonly FlagName[] = ['MINER_KEY_FILE', 'REGISTRY_URL'];
export const RUN_FLAGS: readonly FlagName[] = [
  'MINER_KEY_FILE',
  'REGISTRY_URL',
  'MINER_ENDPOINT',
  'MINER_HOST',
  'MINER_PORT',
  'MINER_ORCHESTRATOR',
  'MINER_OPERATOR',
  'MINER_ENGINE',
  'MINER_SLOTS_TRAINING',
  'MINER_SLOTS_INFERENCE',
  'MINER_DATA_DIR',
  'MINER_REPLY',
  'MINER_NAME',
  'METRICS_PORT',
  'METRICS_HOST',
  'LOG_LEVEL',
];
export const REGISTER_FLAGS: readonly FlagName[] = [
  'MINER_KEY_FILE',
  'REGISTRY_URL',
  'MINER_ENDPOINT',
  'MINER_DIALECT',
  'MINER_OPERATOR',
  'MINER_ENGINE',
  'MINER_SLOTS_TRAINING',
  'MINER_SLOTS_INFERENCE',
];
export const SELF_TEST_FLAGS: readonly FlagName[] = [
  'MINER_KEY_FILE',
  'MINER_ENDPOINT',
  'MINER_DIALECT',
  'REGISTRY_URL',
  'SELF_TEST_HOST',
  'SELF_TEST_PORT',
  'SELF_TEST_CALLBACK_URL',
  'SELF_TEST_LORA',
  'SELF_TEST_PATIENCE_S',
];

/** MINER_KEY_FILE is --key-file, REGISTRY_URL is --registry-url, SELF_TEST_CALLBACK_URL is --callback-url. */
export function flagOf(name: FlagName): string {
  return `--${name
    .replace(/^(MINER|SELF_TEST)_/, '')
    .toLowerCase()
    .replaceAll('_', '-')}`;
}

export function addFlags(command: Command, names: readonly FlagName[]): Command {
  for (const name of names) command.option(`${flagOf(name)} <value>`, `${MEANINGS[name]} [${name}]`);
  return command;
}

/** The flags that were given, by the names of their variables. @throws EnvError for one given without a value. */
export function variablesOf(options: Readonly<Record<string, unknown>>, names: readonly FlagName[]): Variables {
  const given: Record<string, string> = {};
  for (const name of names) {
    const value = options[camel(flagOf(name).slice(2))];
    if (value === '') throw new EnvError(`The configuration is wrong:\n  ${flagOf(name)}: a value is missing`);
    if (typeof value === 'string') given[name] = value;
  }
  return given;
}

function camel(flag: string): string {
  return flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
