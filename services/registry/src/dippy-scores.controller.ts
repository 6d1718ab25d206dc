import { Controller, Get, Headers, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { DippyScoreBoard } from './dippy-scores';
import { answerTagged } from './tagged-reply';

@ApiTags('scores')
@Controller()
export class DippyScoresController {
  constructor(private readonly board: DippyScoreBoard) {}

  /** Existing validators send the hotkeys that they know as a body, which a GET has no use for: all are served. */
  @Get('scores')
  @ApiOperation({ summary: 'All scores in the form of the public Dippy Studio orchestrator, from 0 to 1' })
  async all(@Headers('if-none-match') known: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    answerTagged(reply, known, await this.board.served());
  }
}
