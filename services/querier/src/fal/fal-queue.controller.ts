import { Controller, Get, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import { isStudioError, StudioError } from '@studio/shared/domain/errors';
import { outerError } from '@studio/shared/platform/outer-error';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import type { StoredJob } from '../job.store';
import { refTo } from '../api-schemas';
import { findApp, type FalApp } from './fal-apps';
import { falError } from './fal-errors';
import { FalJobs } from './fal-jobs';
import { asciiJson } from './fal-json';
import { optionsOf } from './fal-options';

interface AppParams {
  owner: string;
  alias: string;
}
type RequestParams = AppParams & { id: string };

/** fal's client takes a request's id from this header alone. */
const REQUEST_ID = 'x-fal-request-id';
const NOT_FOUND = { status: 'NOT_FOUND' };

const INPUT = { anyOf: [refTo('FalTraining'), refTo('FalInference')] } as never;
const OUTPUT = { anyOf: [refTo('FalTrained'), refTo('FalRendered')] } as never;
const EVENTS_OF_STATUS = { 'text/event-stream': { schema: refTo('FalStatus') } };
const STATUS_ALONE = {
  type: 'object',
  properties: { status: { type: 'string' } },
  required: ['status'],
  additionalProperties: false,
};

/** fal's queue protocol, so that its clients work by changing the host (docs/clients.md). */
@ApiTags('fal queue')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('FalProblem') })
@ApiSecurity('key')
@Controller('queue')
export class FalQueueController {
  constructor(private readonly falJobs: FalJobs) {}

  @Post([':owner/:alias', ':owner/:alias/*'])
  @ApiOperation({ summary: "Submit a request to one of fal's LoRA apps." })
  @ApiQuery({ name: 'fal_webhook', required: false, description: 'Is told of the end by POST.' })
  @ApiQuery({ name: 'fal_max_queue_length', required: false, schema: { type: 'integer', minimum: 0 } })
  @ApiBody({ schema: INPUT })
  @ApiResponse({ status: 200, description: 'Stored.', schema: refTo('FalStatus') })
  async submit(@Param() { owner, alias }: AppParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const app = findApp(owner, alias);
    try {
      const { clientId, body, headers, query } = request;
      const unheard = unheardOf(reply);
      const options = optionsOf(headers, query as Record<string, unknown>);
      const job = await this.falJobs.submitOnce(app, clientId, body, options, unheard);
      const { logs: _logs, ...status } = this.falJobs.status(app, job, false);
      await reply
        .status(200)
        .header(REQUEST_ID, job.id)
        .send({ queue_position: 0, ...status });
    } catch (error) {
      // That nobody can do it will be so in a second as well.
      if (!isStudioError(error) || error.code !== 'NO_ELIGIBLE_MINER') throw error;
      await sendFinal(reply, error);
    }
  }

  @Get(':owner/:alias/requests/:id/status')
  @ApiOperation({ summary: 'Where a request is: 202 while it is not finished.' })
  @ApiQuery({ name: 'logs', required: false, schema: { type: 'string', enum: ['0', '1', 'true', 'false'] } })
  @ApiResponse({ status: 200, description: 'Finished.', schema: refTo('FalStatus') })
  @ApiResponse({ status: 202, description: 'Not finished.', schema: refTo('FalStatus') })
  async status(
    @Param() params: RequestParams,
    @Query('logs') logs: string | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ) {
    const { app, job } = await this.find(params, request);
    if (!job) return void (await reply.status(404).send(NOT_FOUND));
    const status = this.falJobs.status(app, job, logs === '1' || logs === 'true');
    await reply
      .status(status.status === 'COMPLETED' ? 200 : 202)
      .header(REQUEST_ID, job.id)
      .send(status);
  }

  @Get(':owner/:alias/requests/:id/status/stream')
  @ApiOperation({ summary: 'The same as server-sent events, with logs as they come.' })
  @ApiResponse({ status: 200, description: 'Events until it is finished.', content: EVENTS_OF_STATUS })
  async stream(@Param() params: RequestParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const { app, job } = await this.find(params, request);
    if (!job) return void (await reply.status(404).send(NOT_FOUND));
    const statuses = this.falJobs.statuses(app, job, request.clientId, goneOf(request, reply));
    await sendEvents(reply.header(REQUEST_ID, job.id), statuses);
  }

  @Get([':owner/:alias/requests/:id', ':owner/:alias/requests/:id/response'])
  @ApiOperation({ summary: 'The output of a finished request.' })
  @ApiResponse({ status: 200, description: 'As the app gives it.', schema: OUTPUT })
  async response(@Param() params: RequestParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const { job } = await this.find(params, request);
    if (!job) return void (await reply.status(404).send(NOT_FOUND));
    void reply.header(REQUEST_ID, job.id);
    try {
      await reply.send(await this.falJobs.output(job));
    } catch (error) {
      if (isStudioError(error) && error.code === 'NOT_FINISHED')
        return void (await reply.status(400).send({ detail: 'Request is still in progress' }));
      await sendFinal(reply, outerError(error));
    }
  }

  /** The client declares JSON and sends nothing. */
  @Put(':owner/:alias/requests/:id/cancel')
  @ApiOperation({ summary: 'Take a request back that is not finished.' })
  @ApiResponse({ status: 202, description: 'Taken back.', schema: STATUS_ALONE })
  @ApiResponse({ status: 400, description: 'It is finished.', schema: STATUS_ALONE })
  async cancel(@Param() params: RequestParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const { job } = await this.find(params, request);
    if (!job) return void (await reply.status(404).send(NOT_FOUND));
    try {
      await this.falJobs.cancel(request.clientId, job.id);
      await reply.status(202).send({ status: 'CANCELLATION_REQUESTED' });
    } catch (error) {
      if (!isStudioError(error) || error.code !== 'ALREADY_FINISHED') throw error;
      await reply.status(400).send({ status: 'ALREADY_COMPLETED' });
    }
  }

  private async find(
    { owner, alias, id }: RequestParams,
    { clientId }: FastifyRequest,
  ): Promise<{ app: FalApp; job: StoredJob | undefined }> {
    const app = findApp(owner, alias);
    return { app, job: await this.falJobs.find(app, clientId, id) };
  }
}

/** fal's blocking form: one request, whose reply is the output. */
@ApiTags('fal queue')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('FalProblem') })
@ApiSecurity('key')
@Controller('run')
export class FalRunController {
  constructor(private readonly falJobs: FalJobs) {}

  @Post(':owner/:alias')
  @ApiOperation({ summary: 'Submit, wait, and get the output. Whoever hangs up takes the request back.' })
  @ApiBody({ schema: INPUT })
  @ApiResponse({ status: 200, description: 'As the app gives it.', schema: OUTPUT })
  async run(@Param() { owner, alias }: AppParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const { job, done } = await this.begun(owner, alias, request, reply);
    void reply.status(200).header(REQUEST_ID, job.id);
    await reply.send(await this.falJobs.output(await done));
  }

  @Post(':owner/:alias/stream')
  @ApiOperation({ summary: 'The same as a server-sent event.' })
  @ApiBody({ schema: INPUT })
  @ApiResponse({ status: 200, description: 'The output.', content: { 'text/event-stream': { schema: OUTPUT } } })
  async stream(@Param() { owner, alias }: AppParams, @Req() request: FastifyRequest, @Res() reply: FastifyReply) {
    const { job, done } = await this.begun(owner, alias, request, reply);
    const output = await this.falJobs.output(await done);
    await sendEvents(reply.header(REQUEST_ID, job.id), [output]);
  }

  private async begun(owner: string, alias: string, request: FastifyRequest, reply: FastifyReply) {
    const app = findApp(owner, alias);
    const { clientId, body, headers, query } = request;
    const options = optionsOf(headers, query as Record<string, unknown>);
    const job = await this.falJobs.submit(app, clientId, body, options);
    return { job, done: this.falJobs.finished(app, job, clientId, goneOf(request, reply)) };
  }
}

/** The proxy door without a target that it knows. */
@ApiTags('fal queue')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('FalProblem') })
@Controller('fal')
export class FalProxyController {
  @Post('proxy')
  @ApiOperation({ summary: "For fal's clients with a proxyUrl: x-fal-target-url says what is meant." })
  refuse(): never {
    throw new StudioError(
      'UNSUPPORTED_URL',
      'x-fal-target-url: has to be a URL on queue.fal.run, fal.run or rest.fal.ai, whose paths are served here',
    );
  }
}

/** With a status after which fal's client does not send its request again. */
async function sendFinal(reply: FastifyReply, error: StudioError): Promise<void> {
  const { status, headers, body } = falError(error, true);
  await reply.status(status).headers(headers).send(body);
}

/** Aborts when the connection ends before the reply is written. */
function unheardOf({ raw }: FastifyReply): AbortSignal {
  const unheard = new AbortController();
  if (raw.closed) unheard.abort();
  raw.once('close', () => !raw.writableFinished && unheard.abort());
  return unheard.signal;
}

function goneOf(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  request.raw.once('close', () => request.raw.destroyed && !reply.raw.writableEnded && leave());
  reply.raw.once('close', leave);
  return gone.signal;
}

async function sendEvents(reply: FastifyReply, events: AsyncIterable<object | null> | Iterable<object>): Promise<void> {
  async function* lines(): AsyncGenerator<string> {
    for await (const event of events) yield event === null ? ': ping\n\n' : `data: ${asciiJson(event)}\n\n`;
  }
  await reply
    .status(200)
    .header('content-type', 'text/event-stream; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(Readable.from(lines(), { highWaterMark: 1 }));
}
