/** Query strings of the job routes. Numbers arrive as text. */
import 'reflect-metadata';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsUUID, Max, Min } from 'class-validator';

/** Longest wait of one request: proxies commonly cut idle requests at 60 s. */
export const MAX_WAIT_SECONDS = 55;

/** `GET /v1/jobs/{id}?wait=25`: answers when the job is finished, or after this many seconds. */
export class JobQuery {
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MAX_WAIT_SECONDS)
  wait = 0;
}

/** `GET /v1/jobs?limit=20&before={id}`: newest first; `before` is the last id of the page before. */
export class JobListQuery {
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
