import { createHash, timingSafeEqual } from 'node:crypto';
import { Body, Controller, Get, Headers, HttpCode, Inject, Post, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { CloseEpochCommand, EpochNumber } from '@studio/shared/contract/scores';
import { StudioError } from '@studio/shared/domain/errors';
import type { Boundary } from './epoch.store';
import { EpochKeeper } from './epoch-keeper';
import { LedgerStore, type LedgerRow } from './ledger.store';
import { ADMIN_KEY } from './tokens';

/** Operators' routes, on a port of their own; `Authorization: Bearer <ADMIN_KEY>`. */
@ApiTags('admin')
@Controller('admin/v1')
export class AdminController {
  constructor(
    private readonly keeper: EpochKeeper,
    private readonly ledger: LedgerStore,
    @Inject(ADMIN_KEY) private readonly key: string,
  ) {}

  @Post('epochs/close')
  @HttpCode(200)
  @ApiOperation({ summary: 'Close the open epoch now and open the next' })
  async close(
    @Headers('authorization') authorization: string | undefined,
    @Body() command: CloseEpochCommand | undefined,
  ): Promise<Boundary> {
    this.authorize(authorization);
    return this.keeper.closeNow(command?.epoch);
  }

  @Get('ledger')
  @ApiOperation({ summary: "An epoch's ledger entries with their reasons" })
  async entries(
    @Headers('authorization') authorization: string | undefined,
    @Query() { epoch }: EpochNumber,
  ): Promise<{ entries: LedgerRow[] }> {
    this.authorize(authorization);
    return { entries: await this.ledger.ofEpoch(epoch) };
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
