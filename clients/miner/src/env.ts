import 'reflect-metadata';
import { Type, plainToInstance } from 'class-transformer';
import {
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUrl,
  Length,
  Matches,
  Max,
  Min,
  ValidateBy,
  validateSync,
} from 'class-validator';
import { MINER_DIALECTS, type MinerDialect } from '@studio/shared/contract/miners';
import { decodeSs58 } from '@studio/shared/protocol/ss58';
import { EngineEnv } from './engines/env';
import { PROFILES, type ProfileName } from './profiles';

/** `auto`: inference is answered at once (200), training by callback (202). */
export const REPLY_MODES = ['auto', 'sync', 'callback'] as const;
export type ReplyMode = (typeof REPLY_MODES)[number];

const WHOLE = Type(() => Number);
const HTTP_URL = { require_tld: false, protocols: ['http', 'https'], require_protocol: true };

const isHotkey = ValidateBy({
  name: 'isHotkey',
  validator: {
    validate: (value) => decodeSs58(String(value)) !== undefined,
    defaultMessage: () => 'must be an SS58 address with prefix 42',
  },
});

const isSeed = Matches(/^(0x)?[0-9a-fA-F]{64}$/, {
  message: 'must be 64 hex digits, for example from `openssl rand -hex 32`',
});

/** Where the hotkey comes from: one of the two, or the file that `keys create` writes. */
export class KeyEnv {
  /** The sr25519 mini secret of the hotkey. */
  @IsOptional()
  @isSeed
  MINER_SEED?: string;

  @IsOptional()
  @IsString()
  MINER_KEY_FILE?: string;
}

/** What every command that speaks with the registry needs. */
export class RegistryEnv extends KeyEnv {
  @IsUrl(HTTP_URL, { message: 'must be the URL of the registry, such as https://registry.example.org' })
  REGISTRY_URL!: string;
}

/** The running miner's whole configuration: one field per environment variable, of the same name. */
export class MinerEnv extends EngineEnv implements KeyEnv {
  @IsOptional()
  @isSeed
  MINER_SEED?: string;

  @IsOptional()
  @IsString()
  MINER_KEY_FILE?: string;

  @IsString()
  MINER_HOST = '127.0.0.1';

  @WHOLE
  @IsInt()
  @Min(0)
  @Max(65_535)
  MINER_PORT = 8080;

  /** Where the orchestrator reaches this miner; `http://MINER_HOST:MINER_PORT` where not given. */
  @IsOptional()
  @IsUrl(HTTP_URL)
  MINER_ENDPOINT?: string;

  @IsOptional()
  @IsString()
  @Length(1, 128)
  MINER_OPERATOR?: string;

  /** Where to register; a miner without one waits to be asked (its self-test, a private deployment). */
  @IsOptional()
  @IsUrl(HTTP_URL)
  REGISTRY_URL?: string;

  /** When given, only jobs signed by this hotkey are accepted; otherwise the registry names it. */
  @IsOptional()
  @isHotkey
  MINER_ORCHESTRATOR?: string;

  @WHOLE
  @IsInt()
  @Min(0)
  @Max(64)
  MINER_SLOTS_TRAINING = 1;

  @WHOLE
  @IsInt()
  @Min(0)
  @Max(256)
  MINER_SLOTS_INFERENCE = 4;

  @IsIn(Object.keys(PROFILES))
  MINER_PROFILE: ProfileName = 'honest';

  /** Inputs, accepted jobs and results; a restarted miner continues with them. */
  @IsString()
  MINER_DATA_DIR = '.data/miner';

  @IsIn(REPLY_MODES)
  MINER_REPLY: ReplyMode = 'auto';

  /** Metrics on a port of their own, and no longer beside the jobs. */
  @IsOptional()
  @WHOLE
  @IsInt()
  @Min(0)
  @Max(65_535)
  METRICS_PORT?: number;

  @IsString()
  METRICS_HOST = '127.0.0.1';

  /** Label of the log lines. */
  @IsString()
  MINER_NAME = 'miner';

  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  LOG_LEVEL = 'info';
}

/** `register`: a miner that is run by this kit, or one that already runs and speaks the other dialect. */
export class RegisterEnv extends MinerEnv {
  @IsIn(MINER_DIALECTS)
  MINER_DIALECT: MinerDialect = 'native';
}

/** `self-test`. */
export class SelfTestEnv extends KeyEnv {
  @IsOptional()
  @IsUrl(HTTP_URL)
  MINER_ENDPOINT?: string;

  /** Where the miner listens, when it is on this host and no endpoint is given. */
  @WHOLE
  @IsInt()
  @Min(1)
  @Max(65_535)
  MINER_PORT = 8080;

  get endpoint(): string {
    return this.MINER_ENDPOINT ?? `http://127.0.0.1:${this.MINER_PORT}`;
  }

  @IsIn(MINER_DIALECTS)
  MINER_DIALECT: MinerDialect = 'native';

  /** When given, what the miner offers is compared with what it registered. */
  @IsOptional()
  @IsUrl(HTTP_URL)
  REGISTRY_URL?: string;

  /** Where the suite listens for callbacks and serves the inputs of its jobs. */
  @IsString()
  SELF_TEST_HOST = '127.0.0.1';

  @WHOLE
  @IsInt()
  @Min(0)
  @Max(65_535)
  SELF_TEST_PORT = 0;

  /** How the miner reaches that listener, where it is not on the same host. */
  @IsOptional()
  @IsUrl(HTTP_URL)
  SELF_TEST_CALLBACK_URL?: string;

  /** A LoRA file of the miner's engine, for inference on an engine that the suite cannot compute itself. */
  @IsOptional()
  @IsString()
  SELF_TEST_LORA?: string;

  /** Longest wait for one result, in seconds. */
  @WHOLE
  @IsInt()
  @Min(1)
  @Max(3_600)
  SELF_TEST_PATIENCE_S = 120;
}

/** What is wrong with the configuration: one line per variable, without the values of secrets. */
export class EnvError extends Error {
  override readonly name = 'EnvError';
}

export type Variables = Readonly<Record<string, string | undefined>>;

/** Never shown, not even when they are wrong: the second may carry a password in its URL. */
const SECRET = /^MINER_(SEED|HTTP_AUTH|HTTP_URL)$/;

/** Which variables of the environment are ours. */
const OURS = /^(MINER_\w+|METRICS_\w+|SELF_TEST_\w+|REGISTRY_URL|LOG_LEVEL)$/;

/** Variables given by flags take the place of the environment's. */
export function withFlags(flags: Variables, source: Variables = process.env): Variables {
  return { ...source, ...flags };
}

/** Empty variables count as absent. @throws EnvError naming every wrong variable at once. */
export function readEnv<T extends KeyEnv>(Class: new () => T, source: Variables): T {
  const given = Object.entries(source).filter(([name, value]) => OURS.test(name) && value);
  const env = plainToInstance(Class, Object.fromEntries(given));
  const problems = validateSync(env).map(({ property, constraints = {} }) => {
    const now = SECRET.test(property) ? '' : ` (is ${JSON.stringify(source[property] ?? null)})`;
    const rules = Object.values(constraints).map((rule) => rule.replace(`${property} `, ''));
    return `  ${property}${now}: ${rules.join('; ')}`;
  });
  if (env.MINER_SEED && env.MINER_KEY_FILE)
    problems.push('  MINER_SEED and MINER_KEY_FILE: give one of them, not both');
  if (problems.length > 0) throw new EnvError(`The configuration is wrong:\n${problems.join('\n')}`);
  return env;
}

/** A variable that this command cannot do without. @throws EnvError */
export function demand(value: string | undefined, name: string, remedy: string): string {
  if (value) return value;
  throw new EnvError(`The configuration is wrong:\n  ${name} (is null): ${remedy}`);
}

export function minerEnv(source: Variables = process.env): MinerEnv {
  return readEnv(MinerEnv, source);
}
