import { Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport, type MicroserviceOptions } from '@nestjs/microservices';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule, type OpenAPIObject } from '@nestjs/swagger';
import { endConnectionsOnClose } from '@studio/shared/platform/closing-connections';
import { serveHealth } from '@studio/shared/platform/health-routes';
import { frameworkLogger } from '@studio/shared/platform/logger';
import { natsOptions } from '@studio/shared/platform/nats';
import type { IncomingMessage } from 'node:http';
import { apiSchemas } from './api-schemas';
import { ADMIN_KEY, ClientKeysController } from './access/client-keys.controller';
import { ArtifactRows } from './artifact.store';
import { ArtifactUrls } from './artifact-urls';
import { ArtifactsController } from './artifacts.controller';
import type { Api, Parts } from './assembly';
import { CallbackController } from './callback.controller';
import { Callbacks } from './callbacks';
import { ClientKeyStore } from './client-key.store';
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
import { Receipts } from './receipts';
import { ReceiptsController } from './receipts.controller';
import { SubmitConsumer } from './submit.consumer';
import { Submissions } from './submit';
import { ArtifactFiles } from './tokens';
import { Uploads } from './uploads';
import { WebhookSender } from './webhooks/webhook-sender';
import { WebhookSigner } from './webhooks/webhook-signer';
import { WebhookStore } from './webhooks/webhook.store';
import { WebhooksController } from './webhooks/webhooks.controller';

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
        ReceiptsController,
        ArtifactsController,
        CallbackController,
        FalQueueController,
        FalRunController,
        FalProxyController,
        FalStorageController,
        WebhooksController,
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
        { provide: WebhookStore, useValue: api.webhooks.store },
        { provide: WebhookSigner, useValue: api.webhooks.signer },
        { provide: WebhookSender, useValue: api.webhooks.sender },
        { provide: Receipts, useValue: api.receipts },
        { provide: Callbacks, useValue: api.callbacks },
      ],
    };
  }
}

/** Operators' routes, on a port of their own. */
@Module({})
export class AdminModule {
  static of(api: Api, adminKey: string): DynamicModule {
    return {
      module: AdminModule,
      controllers: [ClientKeysController],
      providers: [
        { provide: ClientKeyStore, useValue: api.keys },
        { provide: ADMIN_KEY, useValue: adminKey },
      ],
    };
  }
}

export interface Doors {
  url: string;
  /** Of the operators' door, where there is one. */
  adminUrl?: string;
  close(): Promise<void>;
}

/** Opens HTTP, and for the api NATS and the operators' HTTP. */
export async function openDoors(env: QuerierEnv, parts: Parts, api?: Api): Promise<Doors> {
  const app = await createApp(env, parts, api);
  if (api) connectNats(app, env);
  const admin = api && env.ADMIN_KEY ? await createAdmin(env.ADMIN_KEY, parts, api) : undefined;
  await app.listen(env.HTTP_PORT, env.HTTP_HOST);
  await admin?.listen(env.ADMIN_PORT, env.HTTP_HOST);
  if (api) await app.startAllMicroservices();
  return {
    url: await app.getUrl(),
    adminUrl: await admin?.getUrl(),
    close: async () => void (await Promise.all([app.close(), admin?.close()])),
  };
}

/** Everything but listening. */
export async function createApp(
  env: QuerierEnv,
  parts: Parts,
  api?: Api,
  adapter = createAdapter(),
): Promise<NestFastifyApplication> {
  prepareServer(adapter.getInstance(), api?.access);
  endConnectionsOnClose(adapter.getInstance());
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
  }
  return app;
}

function createAdapter(): FastifyAdapter {
  return new FastifyAdapter({
    bodyLimit: JSON_LIMIT,
    rewriteUrl: ({ url = '/', headers }: IncomingMessage) => routedUrl(url, headers[TARGET_HEADER]),
  });
}

async function createAdmin(adminKey: string, { log }: Parts, api: Api): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter();
  const app = await NestFactory.create<NestFastifyApplication>(AdminModule.of(api, adminKey), adapter, {
    logger: frameworkLogger(log),
  });
  app.useGlobalFilters(new ErrorsFilter());
  return app;
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
