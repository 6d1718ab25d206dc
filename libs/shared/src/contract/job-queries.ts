/** Query strings of the job routes. Numbers arrive as text. */
import 'reflect-metadata';
import { Type } from 'class-transformer';
import { IsISO8601, IsIn, IsInt, IsOptional, IsUUID, Matches, Max, Min } from 'class-validator';
import type { Engine, JobKind, JobState } from '../domain/job';
import { JOB_STATES } from '../domain/job-state';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

/** Longest wait of one request: proxies commonly cut idle requests at 60 s. */
export const MAX_WAIT_SECONDS = 55;

/** `POST /v1/jobs?dry_run=true`: a quote instead of a job. */
export class SubmitQuery {
  @IsOptional()
  @IsIn(['true', 'false'])
  dry_run?: 'true' | 'false';
}

/** `GET /v1/jobs/{id}?wait=25`: answers when the job is finished, or after this many seconds. */
export class JobQuery {
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MAX_WAIT_SECONDS)
  wait = 0;
}

/** A page of a list, newest first; `before` is the last id of the page before. */
export class PageQuery {
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(100)
  limit = 20;

  @IsOptional()
  @IsUUID()
  before?: string;
}

/** A time without a zone would be read in that of whatever machine reads it. */
const ZONED = { pattern: /(Z|[+-]\d\d:\d\d)$/, message: '$property has to end in Z or an offset such as +01:00' };

/** `GET /v1/jobs?state=failed&limit=20&before={id}`: newest first; `before` is the last id of the page before. */
export class JobListQuery extends PageQuery {
  @IsOptional()
  @IsIn(JOB_STATES)
  state?: JobState;

  @IsOptional()
  @IsIn(JOB_KINDS)
  kind?: JobKind;

  @IsOptional()
  @IsIn(ENGINES)
  engine?: Engine;

  /** From then on, with a zone: 2026-03-01T12:00:00Z. */
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(ZONED.pattern, { message: ZONED.message })
  created_after?: string;

  /** … and before then. */
  @IsOptional()
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(ZONED.pattern, { message: ZONED.message })
  created_before?: string;
}
