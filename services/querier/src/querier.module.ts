import { Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { serveHealth } from '@studio/shared/platform/health-routes';
import { frameworkLogger } from '@studio/shared/platform/logger';
import { natsOptions } from '@studio/shared/platform/nats';
import type { IncomingMessage } from 'node:http';
import { apiSchemas } from './api-schemas';
import { ArtifactRows } from './artifact.store';
import { ArtifactUrls } from './artifact-urls';
import { ArtifactsController } from './artifacts.controller';
import type { Api, Parts } from './assembly';
import { CallbackController } from './callback.controller';
import { Callbacks } from './callbacks';
import { Cancellations } from './cancellations';
import type { QuerierEnv } from './env';
import { FalFiles } from './fal/fal-files';
import { routedUrl, TARGET_HEADER } from './fal/fal-hosts';
import { FalJobs } from './fal/fal-jobs';
import { FalProxyController, FalQueueController, FalRunController } from './fal/fal-queue.controller';
import { FalStorageController } from './fal/fal-storage.controller';
import { ErrorsFilter } from './errors.filter';
import { FinishedWatch } from './finished-watch';
import { JSON_LIMIT, prepareServer } from './http-door';
import { JobStore } from './job.store';
import { JobViews } from './job-view';
import { JobsController } from './jobs.controller';
import { SubmitConsumer } from './submit.consumer';
import { Submissions } from './submit';
import { ArtifactFiles } from './tokens';
import { Uploads } from './uploads';

/** Requests in flight get this long when the process is told to end. */
const GRACE_MS = 1_500;

const QUEUE = 'querier';

/** For pages on any site: what opens a door here is the key, and no cookie. Request headers are allowed as they are asked for. */
const CORS = {
  origin: '*',
  methods: ['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS'],
  exposedHeaders: [
    'x-fal-request-id',
    'x-fal-error-type',
    'x-fal-retryable',
    'x-fal-request-timeout-type',
    'retry-after',
  ],
  maxAge: 600,
};

@Module({})
export class QuerierModule {
  /** A worker's module has no `api`: health and metrics only. */
  static of(parts: Parts, api?: Api): DynamicModule {
    if (!api) return { module: QuerierModule };
    return {
      module: QuerierModule,
      controllers: [
        JobsController,
        ArtifactsController,
        CallbackController,
        FalQueueController,
        FalRunController,
        FalProxyController,
        FalStorageController,
        SubmitConsumer,
      ],
      providers: [
        { provide: JobStore, useValue: parts.jobs },
        { provide: ArtifactRows, useValue: parts.rows },
        { provide: ArtifactUrls, useValue: parts.urls },
        { provide: ArtifactFiles, useValue: new ArtifactFiles(parts.artifacts) },
        { provide: Submissions, useValue: api.submissions },
        { provide: JobViews, useValue: api.views },
        { provide: FinishedWatch, useValue: api.finished },
        { provide: Cancellations, useValue: api.cancellations },
        { provide: Uploads, useValue: api.uploads },
        { provide: FalJobs, useValue: api.falJobs },
        { provide: FalFiles, useValue: api.falFiles },
        { provide: Callbacks, useValue: api.callbacks },
      ],
    };
  }
}

export interface Doors {
  url: string;
  close(): Promise<void>;
}

/** Opens HTTP, and for the api NATS. */
export async function openDoors(env: QuerierEnv, parts: Parts, api?: Api): Promise<Doors> {
  const adapter = new FastifyAdapter({
    bodyLimit: JSON_LIMIT,
    rewriteUrl: ({ url = '/', headers }: IncomingMessage) => routedUrl(url, headers[TARGET_HEADER]),
  });
  prepareServer(adapter.getInstance(), api?.keys);
  serveHealth(adapter.getInstance(), parts.health, parts.metrics);
  const app = await NestFactory.create<NestFastifyApplication>(QuerierModule.of(parts, api), adapter, {
    bodyParser: false,
    logger: frameworkLogger(parts.log),
  });
  if (api) app.enableCors(CORS);
  app.useGlobalFilters(new ErrorsFilter());
  if (api) {
    SwaggerModule.setup('docs', app, () => documented(app, env), {
      jsonDocumentUrl: 'docs/json',
    });
    connectNats(app, env);
  }
  await app.listen(env.HTTP_PORT, env.HTTP_HOST);
  if (api) await app.startAllMicroservices();
  return { url: await app.getUrl(), close: () => app.close() };
}

function connectNats(app: NestFastifyApplication, env: QuerierEnv): void {
  const options = {
    ...natsOptions(env.NATS_URL, 'querier-api'),
    queue: QUEUE,
    gracefulShutdown: true,
    gracePeriod: GRACE_MS,
  };
  app.connectMicroservice<MicroserviceOptions>({ transport: Transport.NATS, options }, { inheritAppConfig: true });
}

/** OpenAPI 3.1: its schemas are JSON Schema as it is. */
function documented(app: NestFastifyApplication, env: QuerierEnv) {
  const description = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Dippy Studio')
    .setDescription('Train a LoRA from one photograph; render images with it.')
    .setVersion('1')
    .addServer(env.PUBLIC_URL)
    .addApiKey({ type: 'apiKey', in: 'header', name: 'Authorization', description: '`Key studio_…`' }, 'key')
    .build();
  const { components, ...document } = SwaggerModule.createDocument(app, description);
  return { ...document, components: { ...components, schemas: apiSchemas() } } as OpenAPIObject;
}
