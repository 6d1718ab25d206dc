import { Controller, Get } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FairnessReport } from '@studio/shared/contract/miners';
import { FairnessBoard } from './fairness-board';

/** Everybody may see whether equal capacity gets equal work. */
@ApiTags('miners')
@Controller('v1')
export class FairnessController {
  constructor(private readonly board: FairnessBoard) {}

  @Get('fairness')
  @ApiOperation({ summary: 'How evenly jobs of the last hour came to proven slots, per kind and engine' })
  report(): Promise<FairnessReport> {
    return this.board.report();
  }
}
