import { createHash, timingSafeEqual } from 'node:crypto';
import { Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post, Query, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  DEFAULT_QUEUED_JOBS,
  DEFAULT_REQUESTS_PER_MINUTE,
  KeyEventQuery,
  KeyLimitsCommand,
  NewKeyCommand,
  type KeyEventView,
  type KeyView,
  type NewKeyView,
} from '@studio/shared/contract/client-keys';
import { validated } from '@studio/shared/contract/validated';
import { StudioError } from '@studio/shared/domain/errors';
import type { FastifyRequest } from 'fastify';
import { validate as isUuid } from 'uuid';
import { ClientKeyStore, type Actor } from '../client-key.store';
import { storable } from '../sql';

export const ADMIN_KEY = Symbol('admin key');

/** Operators share a key; who of them it was is what they say. */
const OPERATOR_HEADER = 'x-operator';
const MAX_OPERATOR = 100;

/** Operators' routes, on a port of their own; `Authorization: Bearer <ADMIN_KEY>`. */
@ApiTags('admin')
@Controller('admin/v1')
export class ClientKeysController {
  constructor(
    private readonly keys: ClientKeyStore,
    @Inject(ADMIN_KEY) private readonly adminKey: string,
  ) {}

  @Post('keys')
  async create(@Req() request: FastifyRequest): Promise<NewKeyView> {
    const by = this.authorize(request);
    const { name, client_id, scopes, requests_per_minute, queued_jobs } = validated(NewKeyCommand, request.body);
    const { key, view } = await this.keys.create(name, {
      clientId: client_id,
      scopes,
      requestsPerMinute: requests_per_minute === undefined ? DEFAULT_REQUESTS_PER_MINUTE : requests_per_minute,
      queuedJobs: queued_jobs === undefined ? DEFAULT_QUEUED_JOBS : queued_jobs,
      by,
    });
    return { ...view, key };
  }

  @Get('keys')
  async list(@Req() request: FastifyRequest): Promise<{ keys: KeyView[] }> {
    this.authorize(request);
    return { keys: await this.keys.list() };
  }

  @Patch('keys/:id')
  limit(@Req() request: FastifyRequest, @Param('id') id: string): Promise<KeyView> {
    const by = this.authorize(request);
    const { requests_per_minute: requestsPerMinute, queued_jobs: queuedJobs } = validated(
      KeyLimitsCommand,
      request.body,
    );
    return this.keys.limit(known(id), { requestsPerMinute, queuedJobs }, by);
  }

  @Delete('keys/:id')
  @HttpCode(200)
  revoke(@Req() request: FastifyRequest, @Param('id') id: string): Promise<KeyView> {
    const by = this.authorize(request);
    return this.keys.revoke(known(id), by);
  }

  @Get('key-events')
  async events(@Req() request: FastifyRequest, @Query() query: unknown): Promise<{ events: KeyEventView[] }> {
    this.authorize(request);
    const { key, before, limit } = validated(KeyEventQuery, query);
    return { events: await this.keys.events(key ?? null, before ?? null, limit) };
  }

  /** Hashes have one length, so the comparison takes one time. */
  private authorize({ headers, ip }: FastifyRequest): Actor {
    const given = headers.authorization?.replace(/^Bearer /, '') ?? '';
    if (!timingSafeEqual(digest(given), digest(this.adminKey))) {
      throw new StudioError('UNAUTHENTICATED', "send the operators' key as `Authorization: Bearer …`");
    }
    const operator = headers[OPERATOR_HEADER];
    const who = typeof operator === 'string' ? storable(operator, MAX_OPERATOR) : '';
    return { who: who || 'operator', origin: ip };
  }
}

function known(id: string): string {
  if (isUuid(id)) return id;
  throw new StudioError('NOT_FOUND', 'no such key: the id is the UUID in the list of keys, not the prefix');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
