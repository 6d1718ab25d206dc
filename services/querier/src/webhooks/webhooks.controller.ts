import { Controller, Get, Header, HttpCode, Param, Post, Query, Req } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiQuery, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { validated } from '@studio/shared/contract/validated';
import { WEBHOOK_STATES, WebhookListQuery, type WebhookView } from '@studio/shared/contract/webhooks';
import { StudioError } from '@studio/shared/domain/errors';
import type { FastifyRequest } from 'fastify';
import { validate as isUuid } from 'uuid';
import { refTo } from '../api-schemas';
import { WebhookSender } from './webhook-sender';
import { WebhookSigner, type Jwks } from './webhook-signer';
import { WebhookStore, type StoredWebhook } from './webhook.store';

@ApiTags('webhooks')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('Problem') })
@Controller()
export class WebhooksController {
  constructor(
    private readonly store: WebhookStore,
    private readonly signer: WebhookSigner,
    private readonly sender: WebhookSender,
  ) {}

  /** Also where fal's is, with the host as a prefix. */
  @Get(['.well-known/jwks.json', 'rest/.well-known/jwks.json'])
  @Header('cache-control', 'public, max-age=3600')
  @ApiOperation({ summary: 'The public keys of webhook signatures.' })
  @ApiResponse({ status: 200, description: 'One, or two around a rotation.', schema: refTo('Jwks') })
  jwks(): Jwks {
    return this.signer.jwks;
  }

  @Get('v1/webhooks')
  @ApiSecurity('key')
  @ApiOperation({ summary: 'Webhooks of your jobs, newest job first; `state=dead` are those that were given up.' })
  @ApiResponse({ status: 200, description: 'A page.', schema: refTo('WebhookList') })
  @ApiQuery({ name: 'state', required: false, enum: WEBHOOK_STATES })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 100, default: 20 } })
  @ApiQuery({ name: 'before', required: false, description: 'The last id of the page before.' })
  async list(@Req() { clientId }: FastifyRequest, @Query() query: unknown): Promise<{ webhooks: WebhookView[] }> {
    const { state = null, limit, before = null } = validated(WebhookListQuery, query);
    return { webhooks: (await this.store.list(clientId, { state, limit, before })).map(viewOf) };
  }

  @Post('v1/webhooks/:id/replay')
  @HttpCode(202)
  @ApiSecurity('key')
  @ApiOperation({
    summary: 'Deliver now, and by the whole schedule again, whether it was taken, given up or still tried.',
  })
  @ApiResponse({ status: 202, description: 'Due now.', schema: refTo('Webhook') })
  @ApiParam({ name: 'id', description: 'The id of the job.' })
  async replay(@Req() { clientId }: FastifyRequest, @Param('id') id: string): Promise<WebhookView> {
    if (isUuid(id)) await this.store.replay(clientId, id);
    const found = isUuid(id) ? await this.store.find(clientId, id) : undefined;
    if (!found)
      throw new StudioError('NOT_FOUND', 'no job of yours with this id has a webhook: check the id and the key');
    if (found.state === 'waiting')
      throw new StudioError('NOT_FINISHED', 'there is nothing to deliver yet: its webhook is sent when the job ends');
    this.sender.hint();
    return viewOf(found);
  }
}

function viewOf(stored: StoredWebhook): WebhookView {
  const { jobId, url, state, attempts, lastAt, lastStatus, lastError, nextAt, createdAt, endedAt } = stored;
  return {
    id: jobId,
    url,
    state,
    attempts,
    last_attempt_at: lastAt?.toISOString() ?? null,
    last_status: lastStatus,
    last_error: lastError,
    next_attempt_at: nextAt?.toISOString() ?? null,
    created_at: createdAt.toISOString(),
    ended_at: endedAt?.toISOString() ?? null,
  };
}
