import { Body, Controller, Get, HttpCode, Param, Post, Put, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { refTo } from '../api-schemas';
import { FalFiles, type FalPart, type FalUpload } from './fal-files';

const NOTHING = { type: 'object', additionalProperties: false } as const;
const COMPLETION = { type: 'object', properties: { parts: { type: 'array', items: refTo('FalPart') } }, required: ['parts'] }; // prettier-ignore

/** What `fal.storage.upload` talks to. */
@ApiTags('fal storage')
@ApiResponse({ status: '4XX', description: 'docs/errors.md', schema: refTo('FalProblem') })
@Controller('rest/storage')
export class FalStorageController {
  constructor(private readonly files: FalFiles) {}

  @Post('upload/initiate')
  @HttpCode(200)
  @ApiSecurity('key')
  @ApiOperation({ summary: 'A place to put one file, and the name that it will have in requests.' })
  @ApiResponse({ status: 200, description: 'A place.', schema: refTo('FalUpload') })
  initiate(@Req() { clientId }: FastifyRequest): Promise<FalUpload> {
    return this.files.initiate(clientId);
  }

  @Post('upload/initiate-multipart')
  @HttpCode(200)
  @ApiSecurity('key')
  @ApiOperation({
    summary: 'The same for a file in pieces: PUT each to upload_url/{n}, then POST upload_url/complete.',
  })
  @ApiResponse({ status: 200, description: 'A place.', schema: refTo('FalUpload') })
  initiateMultipart(@Req() { clientId }: FastifyRequest): Promise<FalUpload> {
    return this.files.initiate(clientId);
  }

  @Put('files/upload/:place/:part')
  @HttpCode(200)
  @ApiOperation({ summary: 'One piece of a file; sent again, it takes the place of the one before.' })
  @ApiBody({ schema: { type: 'string', format: 'binary' } })
  @ApiResponse({ status: 200, description: 'Kept.', schema: refTo('FalPart') })
  putPart(@Param('place') place: string, @Param('part') part: string, @Body() body: unknown): Promise<FalPart> {
    return this.files.putPart(place, part, body);
  }

  @Post('files/upload/:place/complete')
  @HttpCode(200)
  @ApiOperation({ summary: 'Puts the pieces together, in the order that the body names.' })
  @ApiBody({ schema: COMPLETION as never })
  @ApiResponse({ status: 200, description: 'It is there.', schema: NOTHING })
  async complete(@Param('place') place: string, @Body() body: unknown): Promise<object> {
    await this.files.complete(place, body);
    return {};
  }

  /** Needs no key: its path is one. */
  @Put('files/upload/:place')
  @HttpCode(200)
  @ApiOperation({ summary: 'The file itself, once.' })
  @ApiBody({ schema: { type: 'string', format: 'binary' } })
  @ApiResponse({ status: 200, description: 'It is there.', schema: NOTHING })
  async put(@Param('place') place: string, @Body() body: unknown, @Req() { headers }: FastifyRequest): Promise<object> {
    await this.files.put(place, body, headers['content-type']);
    return {};
  }

  @Get('files/:name')
  @ApiOperation({ summary: 'An uploaded file, by a redirect to its signed link.' })
  @ApiResponse({ status: 302, description: 'To its signed link.' })
  async get(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    await reply.redirect(await this.files.link(name), 302);
  }
}
