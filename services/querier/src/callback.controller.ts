import { Controller, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { CALLBACK_SECRET_HEADER } from '@studio/shared/contract/miner-job';
import { StudioError } from '@studio/shared/domain/errors';
import type { FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { validate as isUuid } from 'uuid';
import { Callbacks, type CallbackReply } from './callbacks';

/** For miners, described in the miner contract. */
@ApiExcludeController()
@Controller('miners/callback')
export class CallbackController {
  constructor(private readonly callbacks: Callbacks) {}

  @Post(':jobId/:attempt')
  @HttpCode(200)
  receive(
    @Param('jobId') jobId: string,
    @Param('attempt') attempt: string,
    @Req() { headers, body }: FastifyRequest,
  ): Promise<CallbackReply> {
    return this.callbacks.receive({ ...senderOf(jobId, attempt, headers), headers, body: unread(body) });
  }

  @Post(':jobId/:attempt/progress')
  @HttpCode(204)
  progress(
    @Param('jobId') jobId: string,
    @Param('attempt') attempt: string,
    @Req() { headers, body }: FastifyRequest,
  ): Promise<void> {
    return this.callbacks.noteProgress(senderOf(jobId, attempt, headers), body);
  }
}

function senderOf(jobId: string, attempt: string, headers: FastifyRequest['headers']) {
  if (isUuid(jobId) && /^[1-9]\d{0,5}$/.test(attempt))
    return { jobId, attemptNo: Number(attempt), secret: headers[CALLBACK_SECRET_HEADER] };
  throw new StudioError('CALLBACK_REFUSED', 'the callback secret does not belong to this attempt');
}

/** http-door.ts leaves forms to whoever knows that they are welcome; anything else was parsed and is no result. */
function unread(body: unknown): Readable {
  if (body instanceof Readable) return body;
  throw new StudioError('MALFORMED_BODY', 'a callback is multipart/form-data: send the result as its parts');
}
