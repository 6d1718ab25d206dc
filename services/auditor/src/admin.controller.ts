import { createHash, timingSafeEqual } from 'node:crypto';
import { Body, Controller, Get, Headers, HttpCode, Inject, Post, Query } from '@nestjs/common';
import { Type } from 'class-transformer';
import { IsBoolean, IsInt, IsISO8601, IsOptional, IsString, IsUUID, Length, Matches, Max, Min } from 'class-validator';
import { StudioError } from '@studio/shared/domain/errors';
import { AmnestyStore, type AmnestyReport } from './amnesty.store';
import { AuditViewStore, type AuditView } from './audit-view.store';
import { DrawStore } from './draw.store';
import { OutboxStore } from './outbox.store';

export const ADMIN_KEY = Symbol('admin key');
/** Hears that verdicts were corrected. */
export const CORRECTED = Symbol('corrected');

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

/** A time without a zone would be read in that of whatever machine reads it. */
const ZONED = /(Z|[+-]\d\d:\d\d)$/;

/** `POST /admin/v1/amnesties`. */
export class AmnestyCommand {
  /** Hotkey of the reference that was wrong; absent: verdicts of every reference. */
  @IsOptional()
  @IsString()
  @Length(3, 64)
  reference?: string;

  /** Verdicts decided from then on; with a zone, such as 2026-03-01T12:00:00Z. */
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(ZONED, { message: '$property has to end in Z or an offset such as +01:00' })
  from!: string;

  /** … and before then. */
  @IsISO8601({ strict: true, strictSeparator: true })
  @Matches(ZONED, { message: '$property has to end in Z or an offset such as +01:00' })
  until!: string;

  /** Shown to every miner concerned, and in the ledger. */
  @IsString()
  @Length(1, 500)
  reason!: string;

  /** Counts what it would do, and does nothing. */
  @IsOptional()
  @IsBoolean()
  dry_run?: boolean;
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
    private readonly amnesties: AmnestyStore,
    @Inject(CORRECTED) private readonly onCorrected: () => void,
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

  /** For an interval in which a reference of ours was wrong: its invalid verdicts are taken back, with all that followed. */
  @Post('amnesties')
  @HttpCode(200)
  async grant(
    @Headers('authorization') authorization: string | undefined,
    @Body() command: AmnestyCommand,
  ): Promise<AmnestyReport> {
    this.authorize(authorization);
    const { reference = null, from, until, reason, dry_run: dryRun = false } = command;
    if (Date.parse(from) >= Date.parse(until)) {
      const message = `has to be later than from (${from})`;
      throw new StudioError('INVALID_INPUT', `until: ${message}`, [{ path: 'until', message }]);
    }
    const report = await this.amnesties.grant({ reference, from, until, reason }, dryRun);
    if (!dryRun) this.onCorrected();
    return report;
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
