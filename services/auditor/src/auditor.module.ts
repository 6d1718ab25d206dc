import { Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Health } from '@studio/shared/platform/health';
import { endConnectionsOnClose } from '@studio/shared/platform/closing-connections';
import { serveHealth } from '@studio/shared/platform/health-routes';
import { frameworkLogger, type Logger } from '@studio/shared/platform/logger';
import { ADMIN_KEY, AdminController, CORRECTED } from './admin.controller';
import { AmnestyStore } from './amnesty.store';
import type { Auditor } from './assembly';
import { AuditViewStore } from './audit-view.store';
import { DrawStore } from './draw.store';
import type { AuditorEnv } from './env';
import { ErrorsFilter, validationPipe } from './errors.filter';
import { OutboxStore } from './outbox.store';

@Module({})
export class AuditorModule {
  static of(auditor: Auditor, adminKey: string): DynamicModule {
    return {
      module: AuditorModule,
      controllers: [AdminController],
      providers: [
        { provide: AuditViewStore, useValue: auditor.audits },
        { provide: DrawStore, useValue: auditor.draws },
        { provide: OutboxStore, useValue: auditor.outbox },
        { provide: AmnestyStore, useValue: auditor.amnesties },
        { provide: CORRECTED, useValue: auditor.onCorrected },
        { provide: ADMIN_KEY, useValue: adminKey },
      ],
    };
  }
}

export interface Doors {
  url: string;
  close(): Promise<void>;
}

/** Opens HTTP. The auditor answers no NATS commands: it reads jobs from the database, and asks others. */
export async function openDoors(
  auditor: Auditor,
  health: Health,
  env: Pick<AuditorEnv, 'ADMIN_KEY' | 'HTTP_HOST' | 'HTTP_PORT'>,
  log: Logger,
): Promise<Doors> {
  const adapter = new FastifyAdapter();
  endConnectionsOnClose(adapter.getInstance());
  serveHealth(adapter.getInstance(), health, auditor.metrics);
  const app = await NestFactory.create<NestFastifyApplication>(AuditorModule.of(auditor, env.ADMIN_KEY), adapter, {
    logger: frameworkLogger(log),
  });
  app.useGlobalFilters(new ErrorsFilter());
  app.useGlobalPipes(validationPipe());
  await app.listen(env.HTTP_PORT, env.HTTP_HOST);
  return { url: await app.getUrl(), close: () => app.close() };
}
