import { Controller, Get, Param, Req } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { SignedReceipt } from '@studio/shared/contract/receipt';
import type { FastifyRequest } from 'fastify';
import { refTo } from './api-schemas';
import { Receipts } from './receipts';

@ApiTags('jobs')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('Problem') })
@ApiSecurity('key')
@Controller('v1/jobs')
export class ReceiptsController {
  constructor(private readonly receipts: Receipts) {}

  @Get(':id/receipt')
  @ApiOperation({
    summary:
      'A finished job, signed by its miner and by us. `npm run verify:receipt` checks it, with nothing but this.',
  })
  @ApiParam({ name: 'id' })
  @ApiResponse({ status: 200, description: 'Signed now.', schema: refTo('SignedReceipt') })
  issue(@Req() { clientId }: FastifyRequest, @Param('id') id: string): Promise<SignedReceipt> {
    return this.receipts.issue(clientId, id);
  }
}
