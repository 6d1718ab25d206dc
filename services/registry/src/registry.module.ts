import { Module, type DynamicModule, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { StudioError } from '@studio/shared/domain/errors';
import { frameworkLogger, type Logger } from '@studio/shared/platform/logger';
import { endConnectionsOnClose } from '@studio/shared/platform/closing-connections';
import { serveHealth } from '@studio/shared/platform/health-routes';
import { natsOptions } from '@studio/shared/platform/nats';
import { AdminController } from './admin.controller';
import { AppealStore } from './appeal.store';
import type { Registry } from './assembly';
import type { RegistryEnv } from './env';
import { DippyScoreBoard } from './dippy-scores';
import { DippyScoresController } from './dippy-scores.controller';
import { DrawExport } from './draw-export';
import { EpochKeeper } from './epoch-keeper';
import { EpochStore } from './epoch.store';
import { ContractPipe, ErrorsFilter } from './errors.filter';
import { ExportFiles } from './export-files';
import { ExportController } from './export.controller';
import { FairnessBoard } from './fairness-board';
import { FairnessController } from './fairness.controller';
import { LedgerConsumer } from './ledger.consumer';
import { LedgerStore } from './ledger.store';
import { MinerAccounts } from './miner-account';
import { MinerController } from './miner.controller';
import { MinerStore } from './miner.store';
import { MinersConsumer } from './miners.consumer';
import { RequestSignatures } from './request-signature';
import { ScoreBoards } from './score-board';
import { ScoreFeed } from './score-feed';
import { ScoreStore } from './score.store';
import { SnapshotStore } from './snapshot.store';
import { ADMIN_KEY, HINT, IDENTITY, NEWS } from './tokens';
import { ValidatorSessions } from './validator-session';
import { ValidatorSessionController } from './validator-session.controller';
import { ValidatorController } from './validator.controller';

/** A registration with its sixteen offers is below 4 KiB. */
const BODY_LIMIT = 64 * 1_024;

/** Requests in flight get this long when the process is told to end. */
const GRACE_MS = 1_500;

@Module({})
export class RegistryModule {
  static of(registry: Registry): DynamicModule {
    return {
      module: RegistryModule,
      controllers: [
        MinerController,
        FairnessController,
        ExportController,
        ValidatorController,
        ValidatorSessionController,
        DippyScoresController,
        MinersConsumer,
        LedgerConsumer,
      ],
      providers: [
        { provide: MinerStore, useValue: registry.miners },
        { provide: MinerAccounts, useValue: registry.accounts },
        { provide: AppealStore, useValue: registry.appeals },
        { provide: RequestSignatures, useValue: registry.signatures },
        { provide: FairnessBoard, useValue: registry.fairness },
        { provide: LedgerStore, useValue: registry.ledger },
        { provide: EpochStore, useValue: registry.epochs },
        { provide: SnapshotStore, useValue: registry.snapshots },
        { provide: ScoreStore, useValue: registry.scores },
        { provide: ScoreBoards, useValue: registry.boards },
        { provide: DippyScoreBoard, useValue: registry.dippyBoard },
        { provide: ValidatorSessions, useValue: registry.sessions },
        { provide: ScoreFeed, useValue: registry.feed },
        { provide: DrawExport, useValue: registry.draws },
        { provide: ExportFiles, useValue: registry.exports },
        { provide: IDENTITY, useValue: registry.identity },
        { provide: HINT, useValue: registry.hint },
        { provide: NEWS, useValue: registry.news },
      ],
    };
  }
}

@Module({})
export class AdminModule {
  static of(registry: Registry, adminKey: string): DynamicModule {
    return {
      module: AdminModule,
      controllers: [AdminController],
      providers: [
        { provide: EpochKeeper, useValue: registry.keeper },
        { provide: LedgerStore, useValue: registry.ledger },
        { provide: ADMIN_KEY, useValue: adminKey },
      ],
    };
  }
}

export interface Doors {
  url: string;
  adminUrl: string;
  close(): Promise<void>;
}

/** Opens HTTP, the operators' HTTP and NATS. */
export async function openDoors(registry: Registry, env: RegistryEnv, log: Logger): Promise<Doors> {
  const app = await createApp(RegistryModule.of(registry), log);
  endConnectionsOnClose(app.getHttpAdapter().getInstance());
  serveHealth(app.getHttpAdapter().getInstance(), registry.health, registry.metrics);
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, documentation(env)));
  app.connectMicroservice<MicroserviceOptions>(
    {
      transport: Transport.NATS,
      options: {
        ...natsOptions(env.NATS_URL, 'registry'),
        queue: 'registry',
        gracefulShutdown: true,
        gracePeriod: GRACE_MS,
      },
    },
    { inheritAppConfig: true },
  );
  const admin = await createApp(AdminModule.of(registry, env.ADMIN_KEY), log);
  await app.listen(env.HTTP_PORT, env.HTTP_HOST);
  await admin.listen(env.ADMIN_PORT, env.HTTP_HOST);
  await app.startAllMicroservices();
  return {
    url: await app.getUrl(),
    adminUrl: await admin.getUrl(),
    close: async () => void (await Promise.all([app.close(), admin.close()])),
  };
}

async function createApp(module: DynamicModule | Type, log: Logger): Promise<NestFastifyApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(module, jsonAdapter(), {
    bodyParser: false,
    // Nest reports every route at its start: forty lines that nobody asked for.
    logger: frameworkLogger(log.child({}, { level: log.isLevelEnabled('debug') ? log.level : 'warn' })),
  });
  app.useGlobalFilters(new ErrorsFilter());
  app.useGlobalPipes(new ContractPipe());
  return app;
}

/** Keeps the bytes of a body, which signatures cover, and lets a request declare JSON and send none. */
function jsonAdapter(): FastifyAdapter {
  const adapter = new FastifyAdapter({ bodyLimit: BODY_LIMIT });
  const server = adapter.getInstance();
  server.removeContentTypeParser('application/json');
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    Object.assign(request, { rawBody: body });
    try {
      done(null, body.length === 0 ? undefined : JSON.parse(body.toString('utf8')));
    } catch (error) {
      done(new StudioError('MALFORMED_BODY', 'the body is not JSON', [], { cause: error }));
    }
  });
  return adapter;
}

function documentation(env: RegistryEnv) {
  return new DocumentBuilder()
    .setTitle('Dippy Studio registry')
    .setDescription('Miners, scores and snapshots.')
    .setVersion('1')
    .addServer(env.PUBLIC_URL)
    .build();
}
