import { Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiBody,
  ApiHeader,
  ApiOperation,
  ApiParam,
  ApiQuery,
  ApiResponse,
  ApiSecurity,
  ApiTags,
} from '@nestjs/swagger';
import { JobListQuery, JobQuery, MAX_WAIT_SECONDS, SubmitQuery } from '@studio/shared/contract/job-queries';
import type { JobListView, JobView, ResultView, QuoteView } from '@studio/shared/contract/job-view';
import { validated } from '@studio/shared/contract/validated';
import { StudioError } from '@studio/shared/domain/errors';
import { isTerminal, JOB_STATES } from '@studio/shared/domain/job-state';
import { ENGINES, JOB_KINDS } from '@studio/shared/domain/task-kinds';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { validate as isUuid } from 'uuid';
import { refTo } from './api-schemas';
import { Cancellations } from './cancellations';
import { FinishedWatch } from './finished-watch';
import { DEFAULTS } from './job-input';
import { JobStore, type StoredJob } from './job.store';
import { JobViews } from './job-view';
import { Submissions } from './submit';

const REF_SEP = DEFAULTS['ref-sep-v1'];
const SUBMIT_DESCRIPTION =
  'input: TrainingRequest or InferenceRequest, by kind. ' +
  `Training: image_url (data URI, uploaded, or a public URL), resolution (${REF_SEP.resolution}), steps (${REF_SEP.steps}), rank ` +
  `(${REF_SEP.rank}), seed. Inference: lora_url, prompt, width and height (${REF_SEP.side}), seed, lora_scale (1), ` +
  'warp (0.25), num_images (1). In brackets: the defaults of ref-sep-v1. A seed that is left out is drawn and shown in the result.';

@ApiTags('jobs')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('Problem') })
@ApiSecurity('key')
@Controller('v1/jobs')
export class JobsController {
  constructor(
    private readonly submissions: Submissions,
    private readonly jobs: JobStore,
    private readonly views: JobViews,
    private readonly finished: FinishedWatch,
    private readonly cancellations: Cancellations,
  ) {}

  @Post()
  @HttpCode(202)
  @ApiOperation({ summary: 'Submit a job. It is stored durably before the reply.' })
  @ApiHeader({ name: 'Idempotency-Key', required: false, description: 'The same key and body give the same job.' })
  @ApiBody({ schema: refTo('SubmitJobBody'), description: SUBMIT_DESCRIPTION })
  @ApiQuery({ name: 'dry_run', required: false, schema: { type: 'string', enum: ['true', 'false'] } })
  @ApiResponse({ status: 202, description: 'Stored.', schema: refTo('Job') })
  @ApiResponse({
    status: 200,
    description: 'With dry_run: what would become of it. No job is stored.',
    schema: refTo('Quote'),
  })
  async submit(
    @Req() request: FastifyRequest,
    @Query() query: unknown,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<JobView | QuoteView> {
    const { dry_run: dryRun } = validated(SubmitQuery, query);
    if (dryRun === 'true') {
      void reply.status(200);
      return this.submissions.quote(request.body);
    }
    const key = request.headers['idempotency-key'];
    const job = await this.submissions.submit(request.clientId, request.body, typeof key === 'string' ? key : null);
    return this.views.job(job);
  }

  @Get()
  @ApiOperation({ summary: 'Your jobs, newest first, all of them or those that are asked for.' })
  @ApiQuery({ name: 'limit', required: false, schema: { type: 'integer', minimum: 1, maximum: 100, default: 20 } })
  @ApiQuery({ name: 'before', required: false, description: 'The last id of the page before.' })
  @ApiQuery({ name: 'state', required: false, enum: JOB_STATES })
  @ApiQuery({ name: 'kind', required: false, enum: JOB_KINDS })
  @ApiQuery({ name: 'engine', required: false, enum: ENGINES })
  @ApiQuery({ name: 'created_after', required: false, description: 'From this time on, with its zone.' })
  @ApiQuery({ name: 'created_before', required: false, description: '… and before this one.' })
  @ApiResponse({ status: 200, description: 'A page.', schema: refTo('JobList') })
  async list(@Req() { clientId }: FastifyRequest, @Query() query: unknown): Promise<JobListView> {
    const wanted = validated(JobListQuery, query);
    const jobs = await this.jobs.list(clientId, wanted);
    const next = jobs.length === wanted.limit ? (jobs.at(-1)?.id ?? null) : null;
    return { jobs: jobs.map((job) => this.views.job(job)), next };
  }

  @Get(':id')
  @ApiOperation({ summary: 'One job with its attempts. With `wait`, answers when it is finished.' })
  @ApiParam({ name: 'id' })
  @ApiQuery({ name: 'wait', required: false, schema: { type: 'integer', minimum: 0, maximum: MAX_WAIT_SECONDS } })
  @ApiResponse({ status: 200, description: 'As it is.', schema: refTo('Job') })
  async status(
    @Req() { clientId }: FastifyRequest,
    @Param('id') id: string,
    @Query() query: unknown,
  ): Promise<JobView> {
    const { wait } = validated(JobQuery, query);
    let job = await this.find(clientId, id);
    if (wait > 0 && !isTerminal(job.state)) {
      await this.finished.wait(id, wait * 1_000);
      job = await this.find(clientId, id);
    }
    return this.views.job(job);
  }

  @Get(':id/result')
  @ApiOperation({ summary: 'Links to the files of a finished job.' })
  @ApiParam({ name: 'id' })
  @ApiResponse({ status: 200, description: 'Links that expire.', schema: refTo('Result') })
  async result(@Req() { clientId }: FastifyRequest, @Param('id') id: string): Promise<ResultView> {
    return this.views.result(await this.find(clientId, id));
  }

  @Post(':id/cancel')
  @HttpCode(202)
  @ApiOperation({ summary: 'Take a job back that is not finished.' })
  @ApiParam({ name: 'id' })
  @ApiResponse({ status: 202, description: 'Cancelled.', schema: refTo('Job') })
  async cancel(@Req() { clientId }: FastifyRequest, @Param('id') id: string): Promise<JobView> {
    await this.find(clientId, id);
    await this.cancellations.cancel(clientId, id);
    return this.views.job(await this.find(clientId, id));
  }

  /** Another client's job does not exist. */
  private async find(clientId: string, id: string): Promise<StoredJob> {
    const job = isUuid(id) ? await this.jobs.find(clientId, id) : undefined;
    if (!job) throw new StudioError('NOT_FOUND', 'no such job of yours: check the id and the key');
    return job;
  }
}
