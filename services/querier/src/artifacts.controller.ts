import { Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiOperation,
  ApiParam,
  ApiQuery,
  ApiResponse,
  ApiSecurity,
  ApiTags,
} from '@nestjs/swagger';
import type { UploadView } from '@studio/shared/contract/job-view';
import { StudioError } from '@studio/shared/domain/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { refTo } from './api-schemas';
import { ArtifactRows } from './artifact.store';
import { ArtifactUrls } from './artifact-urls';
import { ArtifactFiles } from './tokens';
import { LORA_TYPE } from './result-intake';
import { toJpeg } from './pictures';
import { Uploads } from './uploads';

/** A redirect is followed at once: the link behind it needs no longer life, and never outlives ours. */
const REDIRECT_SECONDS = 300;

@ApiTags('artifacts')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('Problem') })
@Controller('v1/artifacts')
export class ArtifactsController {
  constructor(
    private readonly uploads: Uploads,
    private readonly rows: ArtifactRows,
    private readonly urls: ArtifactUrls,
    private readonly files: ArtifactFiles,
  ) {}

  @Post()
  @ApiSecurity('key')
  @ApiOperation({ summary: 'Upload a photograph or a LoRA; send the returned url in a job.' })
  @ApiConsumes('image/png', 'image/jpeg', 'image/webp', 'application/octet-stream')
  @ApiBody({ schema: { type: 'string', format: 'binary' } })
  @ApiResponse({ status: 201, description: 'Stored.', schema: refTo('File') })
  upload(@Req() request: FastifyRequest): Promise<UploadView> {
    return this.uploads.add(request.body, request.headers['content-type']);
  }

  @Get(':sha256')
  @ApiOperation({ summary: 'A stored file, by the link that named it. Needs no key; expires.' })
  @ApiParam({ name: 'sha256' })
  @ApiQuery({ name: 'expires' })
  @ApiQuery({ name: 'sig' })
  @ApiQuery({ name: 'as', required: false, schema: { type: 'string', enum: ['jpeg'] } })
  @ApiResponse({ status: 200, description: 'The bytes.', content: { 'application/octet-stream': {}, 'image/*': {} } })
  @ApiResponse({ status: 302, description: 'They are in the object store: a link that lives for minutes.' })
  async download(
    @Param('sha256') sha256: string,
    @Query() { expires, sig, as }: Record<string, unknown>,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const restSeconds = this.urls.assertValid(sha256, expires, sig);
    const row = await this.rows.find(sha256);
    if (!row) throw new StudioError('NOT_FOUND', 'no such file is stored');
    const { contentType } = row;
    const disposition =
      contentType === LORA_TYPE ? `attachment; filename="${sha256.slice(0, 16)}.safetensors"` : undefined;
    const asJpeg = as === 'jpeg' && contentType.startsWith('image/');
    const seconds = Math.min(restSeconds, REDIRECT_SECONDS);
    const link = asJpeg ? null : await this.files.store.link(sha256, { contentType, disposition, seconds });
    if (link !== null) {
      await reply.header('cache-control', 'no-store').redirect(link, 302);
      return;
    }
    const file = await this.files.store.stream(sha256);
    if (!file) throw new StudioError('NOT_FOUND', 'no such file is stored');
    // The name never changes its meaning.
    void reply.header('cache-control', 'private, max-age=31536000, immutable');
    if (disposition) void reply.header('content-disposition', disposition);
    if (asJpeg) return void (await reply.type('image/jpeg').send(file.body.pipe(toJpeg())));
    await reply.type(contentType).header('content-length', file.bytes).send(file.body);
  }
}
