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
import { decodeSs58 } from '@studio/shared/protocol/ss58';
import { PROFILES, type ProfileName } from './profiles';

/** `auto`: inference is answered at once (200), training by callback (202). */
export const REPLY_MODES = ['auto', 'sync', 'callback'] as const;
export type ReplyMode = (typeof REPLY_MODES)[number];

const WHOLE = Type(() => Number);
const HTTP_URL = { require_tld: false, protocols: ['http', 'https'], require_protocol: true };

/** The miner's whole configuration: one field per environment variable, of the same name. */
export class MinerEnv {
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

  /** The sr25519 mini secret of the hotkey. */
  @Matches(/^(0x)?[0-9a-fA-F]{64}$/, { message: 'must be 64 hex digits, for example from `openssl rand -hex 32`' })
  MINER_SEED!: string;

  @IsOptional()
  @IsString()
  @Length(1, 128)
  MINER_OPERATOR?: string;

  /** Where to register; a miner without one waits to be asked (its self-test, a private deployment). */
  @IsOptional()
  @IsUrl(HTTP_URL)
  REGISTRY_URL?: string;

  /** When given, only jobs signed by this hotkey are accepted. */
  @IsOptional()
  @ValidateBy({
    name: 'isHotkey',
    validator: {
      validate: (value) => decodeSs58(String(value)) !== undefined,
      defaultMessage: () => 'must be an SS58 address with prefix 42',
    },
  })
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

  /** Label of the log lines. */
  @IsString()
  MINER_NAME = 'miner';

  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  LOG_LEVEL = 'info';
}

/** What is wrong with the environment: one line per variable, without the values of secrets. */
export class EnvError extends Error {
  override readonly name = 'EnvError';
}

/** Which variables of the environment are ours. */
const OURS = /^(MINER_\w+|REGISTRY_URL|LOG_LEVEL)$/;

/** Empty variables count as absent. @throws EnvError naming every wrong variable at once. */
export function minerEnv(source: NodeJS.ProcessEnv = process.env): MinerEnv {
  const given = Object.entries(source).filter(([name, value]) => OURS.test(name) && value);
  const env = plainToInstance(MinerEnv, Object.fromEntries(given));
  const problems = validateSync(env).map(({ property, constraints = {} }) => {
    const now = property === 'MINER_SEED' ? '' : ` (is ${JSON.stringify(source[property] ?? null)})`;
    return `  ${property}${now}: ${Object.values(constraints).join('; ')}`;
  });
  if (problems.length > 0) throw new EnvError(`The environment is wrong:\n${problems.join('\n')}`);
  return env;
}
