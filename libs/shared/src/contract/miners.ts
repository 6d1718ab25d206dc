/** Miners as they register (HTTP, signed) and as workers route to them (NATS). */
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUrl,
  Length,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import type { Engine, JobKind } from '../domain/job';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

export const MINER_DIALECTS = ['native', 'dippy'] as const;
export type MinerDialect = (typeof MINER_DIALECTS)[number];

/** One thing a miner does. A miner is only asked for what it offers. */
export class MinerOffer {
  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsIn(ENGINES)
  engine!: Engine;

  /** Jobs of this kind at the same time. */
  @IsInt()
  @Min(1)
  @Max(1_024)
  slots!: number;
}

/** `PUT /v1/miners/{hotkey}`, signed by that hotkey. */
export class MinerRegistration {
  @IsUrl({ require_tld: false, protocols: ['http', 'https'], require_protocol: true })
  endpoint!: string;

  @IsIn(MINER_DIALECTS)
  dialect!: MinerDialect;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(16)
  @ValidateNested({ each: true })
  @Type(() => MinerOffer)
  offers!: MinerOffer[];

  /** Who owns the miner; its own hotkey where not given. */
  @IsOptional()
  @IsString()
  @Length(1, 128)
  operator?: string;
}

export interface RoutableMiner {
  hotkey: string;
  operator: string;
  endpoint: string;
  dialect: MinerDialect;
  offers: { kind: JobKind; engine: Engine; slots: number }[];
  /** A reference: only jobs that name it reach it. */
  trusted: boolean;
  /** Kinds it is quarantined for: nothing is routed to it. */
  quarantined: JobKind[];
}

/** Reply to `registry.miners.routable`. */
export interface RoutableMiners {
  miners: RoutableMiner[];
}

/** `PUT` and `GET /v1/miners/{hotkey}`. Endpoints are public on the chain as well. */
export interface MinerView {
  hotkey: string;
  operator: string;
  endpoint: string;
  dialect: MinerDialect;
  offers: { kind: JobKind; engine: Engine; slots: number }[];
  trusted: boolean;
  registered_at: string;
  updated_at: string;
  withdrawn_at: string | null;
}

/** `GET /v1/miners`, by hotkey. */
export interface MinerList {
  miners: MinerView[];
}

/** `GET /v1/identity`: the recipient that requests to the registry are signed for. */
export interface RegistryIdentity {
  hotkey: string;
}
