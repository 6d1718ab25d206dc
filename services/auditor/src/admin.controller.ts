import { createHash, timingSafeEqual } from 'node:crypto';
import { Controller, Get, Headers, Inject, Query } from '@nestjs/common';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, IsUUID, Max, Min } from 'class-validator';
import { StudioError } from '@studio/shared/domain/errors';
import { AuditViewStore, type AuditView } from './audit-view.store';
import { DrawStore } from './draw.store';
import { OutboxStore } from './outbox.store';

export const ADMIN_KEY = Symbol('admin key');

const LARGEST_PAGE = 1_000;
const LARGEST_EPOCH = 2 ** 31 - 1;

export class AuditQuery {
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(LARGEST_EPOCH)
  epoch?: number;

  /** Id of the last audit of the page before. */
  @IsOptional()
  @IsUUID()
  after?: string;

  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(LARGEST_PAGE)
  limit = LARGEST_PAGE;
}

export interface AuditsReply {
  audits: AuditView[];
}

/** What still has to happen before everything done so far is in the ledger. */
export interface Readiness {
  /** Succeeded jobs without a draw. */
  untaken_jobs: number;
  audits_open: number;
  /** Ledger entries not acknowledged, and those among them that the registry refused: a person has to look. */
  outbox_open: number;
  outbox_refused: number;
}

/** Operators' routes; `Authorization: Bearer <ADMIN_KEY>`. Until an epoch closes, who is audited is nobody else's to know. */
@Controller('admin/v1')
export class AdminController {
  constructor(
    private readonly audits: AuditViewStore,
    private readonly draws: DrawStore,
    private readonly outbox: OutboxStore,
    @Inject(ADMIN_KEY) private readonly key: string,
  ) {}

  @Get('audits')
  async page(
    @Headers('authorization') authorization: string | undefined,
    @Query() query: AuditQuery,
  ): Promise<AuditsReply> {
    this.authorize(authorization);
    return { audits: await this.audits.page(query) };
  }

  @Get('readiness')
  async readiness(@Headers('authorization') authorization: string | undefined): Promise<Readiness> {
    this.authorize(authorization);
    const [untaken, open, outbox] = await Promise.all([
      this.draws.countUntaken(),
      this.audits.countOpen(),
      this.outbox.state(),
    ]);
    return { untaken_jobs: untaken, audits_open: open, outbox_open: outbox.open, outbox_refused: outbox.refused };
  }

  /** Hashes have one length, so the comparison takes one time. */
  private authorize(authorization: string | undefined): void {
    const given = authorization?.replace(/^Bearer /, '') ?? '';
    if (timingSafeEqual(digest(given), digest(this.key))) return;
    throw new StudioError('UNAUTHENTICATED', "send the operators' key as `Authorization: Bearer …`");
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
