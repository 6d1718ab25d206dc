import { Controller, Get, HttpStatus, Inject, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Registry as Metrics } from 'prom-client';
import { Health } from '@studio/shared/platform/health';

/** For the platform the process runs on, not for users. */
@ApiExcludeController()
@Controller()
export class HealthController {
  constructor(
    private readonly health: Health,
    @Inject(Metrics) private readonly figures: Metrics,
  ) {}

  @Get('health/live')
  live(@Res() reply: FastifyReply): void {
    const alive = this.health.isAlive();
    void reply.status(alive ? HttpStatus.OK : HttpStatus.SERVICE_UNAVAILABLE).send({ alive });
  }

  @Get('health/ready')
  async ready(@Res() reply: FastifyReply): Promise<void> {
    const readiness = await this.health.readiness();
    void reply.status(readiness.ready ? HttpStatus.OK : HttpStatus.SERVICE_UNAVAILABLE).send(readiness);
  }

  @Get('metrics')
  async metrics(@Res() reply: FastifyReply): Promise<void> {
    const text = await this.figures.metrics();
    void reply.header('content-type', this.figures.contentType).send(text);
  }
}
