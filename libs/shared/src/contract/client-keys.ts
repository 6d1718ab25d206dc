/** The operators' routes for API keys, `/admin/v1/keys`, and what a key may do. */
import 'reflect-metadata';
import {
  ArrayNotEmpty,
  ArrayUnique,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Max,
  Min,
} from 'class-validator';
import { Type } from 'class-transformer';

export const SCOPES = ['jobs:read', 'jobs:write', 'files:write'] as const;
export type Scope = (typeof SCOPES)[number];

/** fal's client looks at a request twice a second: 25 requests followed at a time. */
export const DEFAULT_REQUESTS_PER_MINUTE = 3_000;
export const DEFAULT_QUEUED_JOBS = 1_000;

/** A minute's requests are the bucket's size too: what one process answers in a second, sixty times. */
const MOST_REQUESTS_PER_MINUTE = 1_000_000;
/** Counting them is part of every submit. */
const MOST_QUEUED_JOBS = 100_000;

/** `PATCH /admin/v1/keys/{id}`. A limit that is left out stays (or is the default, in a new key); null takes it away. */
export class KeyLimitsCommand {
  /** Of this key. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MOST_REQUESTS_PER_MINUTE)
  requests_per_minute?: number | null;

  /** Jobs of this key's client that wait for a worker, by whatever key they came; of several keys the strictest counts. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MOST_QUEUED_JOBS)
  queued_jobs?: number | null;
}

/** `POST /admin/v1/keys`. */
export class NewKeyCommand extends KeyLimitsCommand {
  /** What the key is for, shown in lists. */
  @IsString()
  @Length(1, 200)
  name!: string;

  /** The client that owns it, and its jobs; a new one where not given. */
  @IsOptional()
  @IsUUID()
  client_id?: string;

  /** All of them where not given. */
  @IsOptional()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsIn(SCOPES, { each: true })
  scopes?: Scope[];
}

const LARGEST_PAGE = 1_000;

/** `GET /admin/v1/key-events`: newest first; `before` is the last id of the page before. */
export class KeyEventQuery {
  @IsOptional()
  @IsUUID()
  key?: string;

  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  before?: number;

  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(LARGEST_PAGE)
  limit = 100;
}

/** Never the secret: the prefix says which key it is. */
export interface KeyView {
  id: string;
  client_id: string;
  name: string;
  prefix: string;
  scopes: Scope[];
  requests_per_minute: number | null;
  queued_jobs: number | null;
  created_at: string;
  revoked_at: string | null;
}

/** The reply to `POST /admin/v1/keys`: the one time that the key is shown. */
export interface NewKeyView extends KeyView {
  key: string;
}

export interface KeyEventView {
  id: number;
  key_id: string;
  client_id: string;
  action: 'created' | 'limited' | 'revoked';
  detail: Pick<KeyView, 'name' | 'scopes' | 'requests_per_minute' | 'queued_jobs'>;
  who: string;
  origin: string;
  at: string;
}
