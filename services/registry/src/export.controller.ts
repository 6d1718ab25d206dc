import { Controller, Get, Param, Query, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import {
  ExportedEvent,
  ExportName,
  ExportsQuery,
  type ExportList,
  type InclusionProof,
} from '@studio/shared/contract/exports';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import { ExportFiles } from './export-files';

/** The log as signed files, from which anybody recomputes every score. */
@ApiTags('exports')
@Controller('v1/exports')
export class ExportController {
  constructor(private readonly files: ExportFiles) {}

  @Get()
  @ApiOperation({ summary: 'Signed heads of one kind, newest first; ?before= goes on with older ones' })
  async list(@Query() query: ExportsQuery): Promise<ExportList> {
    return { exports: await this.files.list(query) };
  }

  @Get(':kind/:name')
  @ApiProduces('application/gzip')
  @ApiOperation({ summary: 'An export: compressed lines of canonical JSON, the signed head as the last' })
  async file(@Param() { kind, name }: ExportName, @Res() reply: FastifyReply): Promise<void> {
    const file = await this.files.open(kind, name);
    // A file, not an encoding of something else: it is saved, and verified, as it is.
    void reply
      .header('content-type', 'application/gzip')
      .header('content-disposition', `attachment; filename="${file.name}"`)
      .header('etag', `"${file.root}"`)
      .header('cache-control', name === 'latest' ? 'no-cache' : 'public, max-age=31536000, immutable')
      .send(file.body);
  }

  @Get(':kind/:name/head')
  @ApiOperation({ summary: 'What is signed of an export: canonical JSON, the last line of the file' })
  @ApiOkResponse({ description: 'a SignedHead' })
  async head(@Param() { kind, name }: ExportName, @Res() reply: FastifyReply): Promise<void> {
    const text = `${canonicalJson(await this.files.head(kind, name))}\n`;
    void reply.header('content-type', 'application/json; charset=utf-8').send(text);
  }

  @Get(':kind/:name/proof/:seq')
  @ApiOperation({
    summary: 'Proof that an event of the log is in the export: the way from its line to the signed root',
  })
  proof(@Param() { kind, name, seq }: ExportedEvent): Promise<InclusionProof> {
    return this.files.proof(kind, name, seq);
  }
}
