import { Controller, Get, Header, Headers, Param, Query, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { DrawExportQuery } from '@studio/shared/contract/draws';
import { EpochNumber, ScoreEventsQuery, type EpochView, type ScoreEventPage } from '@studio/shared/contract/scores';
import { StudioError } from '@studio/shared/domain/errors';
import type { Policy } from '@studio/shared/domain/policy';
import { DrawExport } from './draw-export';
import { EpochStore, toEpochView } from './epoch.store';
import { ScoreBoards } from './score-board';
import { ScoreFeed } from './score-feed';
import { ScoreStore } from './score.store';
import { SnapshotStore } from './snapshot.store';
import type { SnapshotText } from './snapshots';
import { answerTagged, tagged } from './tagged-reply';

/** What validators, and anybody else, read: scores, the log they come from, epochs, snapshots. */
@ApiTags('scores')
@Controller('v1')
export class ValidatorController {
  constructor(
    private readonly boards: ScoreBoards,
    private readonly scores: ScoreStore,
    private readonly feed: ScoreFeed,
    private readonly epochs: EpochStore,
    private readonly snapshots: SnapshotStore,
    private readonly draws: DrawExport,
  ) {}

  @Get('scores')
  @ApiOperation({ summary: 'Scores, win rates and weights of the open epoch so far; with ETag' })
  @ApiOkResponse({ description: 'a ScoreBoard' })
  async board(@Headers('if-none-match') known: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    answerTagged(reply, known, await this.boards.served());
  }

  @Get('scores/events')
  @ApiOperation({ summary: 'The log of score events: numbered 1, 2, 3, … without a gap' })
  async events(@Query() { after, limit }: ScoreEventsQuery): Promise<ScoreEventPage> {
    const events = await this.scores.events(after, limit);
    // Read afterwards, so that it is never below the last event of the page.
    return { events, last_seq: await this.scores.lastSeq() };
  }

  @Get('scores/stream')
  @ApiOperation({ summary: 'The log as server-sent events; Last-Event-ID or ?after= goes on where a reader stopped' })
  stream(
    @Headers('last-event-id') lastEventId: string | undefined,
    @Query() query: ScoreEventsQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    const after = lastEventId === undefined ? query.after : readEventId(lastEventId);
    const gone = new AbortController();
    request.raw.once('close', () => gone.abort());
    reply.raw.once('close', () => gone.abort());
    void reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(Readable.from(this.feed.lines(after, gone.signal), { highWaterMark: 16 }));
  }

  @Get('scores/:hotkey')
  @ApiOperation({ summary: "One miner's score" })
  async score(
    @Param('hotkey') hotkey: string,
    @Headers('if-none-match') known: string | undefined,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    answerTagged(reply, known, tagged(await this.boards.of(hotkey)));
  }

  @Get('snapshots/latest')
  @Header('content-type', 'application/json; charset=utf-8')
  @ApiOperation({ summary: 'The newest snapshot, canonical JSON' })
  async latestSnapshot(): Promise<string> {
    return found(await this.snapshots.latest(), 'no epoch is closed yet').body;
  }

  @Get('snapshots/:epoch')
  @ApiOperation({ summary: 'The immutable snapshot of a closed epoch, canonical JSON; its ETag is its SHA-256' })
  async snapshot(
    @Param() { epoch }: EpochNumber,
    @Headers('if-none-match') known: string | undefined,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { body, sha256 } = found<SnapshotText>(
      await this.snapshots.find(epoch),
      `epoch ${epoch} has no snapshot (yet)`,
    );
    answerTagged(reply, known, { body, etag: `"${sha256}"` }, 'public, max-age=31536000, immutable');
  }

  @Get('epochs/current')
  @ApiOperation({ summary: 'The open epoch' })
  async currentEpoch(): Promise<EpochView> {
    return toEpochView(found(await this.epochs.open(), 'no epoch is open yet'));
  }

  @Get('epochs/:epoch')
  @ApiOperation({ summary: 'One epoch' })
  async epoch(@Param() { epoch }: EpochNumber): Promise<EpochView> {
    return toEpochView(found(await this.epochs.find(epoch), `there is no epoch ${epoch}`));
  }

  @Get('epochs/:epoch/draws')
  @ApiProduces('application/x-ndjson')
  @ApiOperation({
    summary: 'Every draw of a closed epoch, one JSON line each after a header; ?after= goes on after a job',
  })
  async drawsOf(
    @Param() { epoch }: EpochNumber,
    @Query() { after }: DrawExportQuery,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const lines = await this.draws.open(epoch, after);
    void reply.header('content-type', 'application/x-ndjson').send(lines);
  }

  @Get('policy')
  @ApiOperation({ summary: 'The policy of the open epoch: every number that decides a score; with ETag' })
  async policy(@Headers('if-none-match') known: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    const open = await this.epochs.open();
    const policy: Policy = open?.policy ?? found(await this.epochs.newestPolicy(), 'no policy is set yet');
    answerTagged(reply, known, tagged(policy));
  }
}

function found<T>(value: T | null, message: string): T {
  if (value === null) throw new StudioError('NOT_FOUND', message);
  return value;
}

function readEventId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const message = 'the number of an event, as its `id:` line gave it';
  throw new StudioError('INVALID_INPUT', `last-event-id: ${message}`, [{ path: 'last-event-id', message }]);
}
