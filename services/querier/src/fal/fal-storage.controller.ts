import { Body, Controller, Get, HttpCode, Param, Post, Put, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { FalFiles, type FalUpload } from './fal-files';

/** What `fal.storage.upload` talks to. */
@ApiTags('fal storage')
@Controller('rest/storage')
export class FalStorageController {
  constructor(private readonly files: FalFiles) {}

  @Post('upload/initiate')
  @HttpCode(200)
  @ApiSecurity('key')
  @ApiOperation({ summary: 'A place to put one file, and the name that it will have in requests.' })
  initiate(@Req() { clientId }: FastifyRequest): Promise<FalUpload> {
    return this.files.initiate(clientId);
  }

  /** Needs no key: its path is one. */
  @Put('files/upload/:place')
  @HttpCode(200)
  @ApiOperation({ summary: 'The file itself, once.' })
  async put(@Param('place') place: string, @Body() body: unknown, @Req() { headers }: FastifyRequest): Promise<object> {
    await this.files.put(place, body, headers['content-type']);
    return {};
  }

  @Get('files/:name')
  @ApiOperation({ summary: 'An uploaded file, by a redirect to its signed link.' })
  async get(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    await reply.redirect(await this.files.link(name), 302);
  }
}
