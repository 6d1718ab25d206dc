/** The product, measured whole through its HTTP door, and its engine alone: the same services, jobs stored directly. */
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { JobStore, type NewJob } from '@studio/querier/job.store';
import { jobReadySubject } from '@studio/shared/contract/subjects';
import { connectDataSource } from '@studio/shared/database/data-source';
import type { InferenceInput } from '@studio/shared/domain/job';
import { taskKind } from '@studio/shared/domain/task-kinds';
import { connectNats, publishHint } from '@studio/shared/platform/nats';
import { createLogger } from '@studio/shared/platform/logger';
import { v7 as uuid } from 'uuid';
import { timed, WIDTH, type Contender, type PacedTimes } from './contender';
import { GRAPHILE, GRAPHILE_BARE } from './graphile-contender';
import { closedLoop, openLoop } from './load';
import type { MinerFleet } from './miner-fleet';
import type { ProductClient } from './product-client';
import type { Product } from './product-system';
import { ProductState } from './product-state';

export const ENGINE = 'our engine, bare';
export const PRODUCT = 'whole product';
export const PRODUCT_BARE = 'whole product, bare';

/** Below a hundredth of a burst's length, and rare enough to cost nothing. */
const POLL_MS = 20;

/** Everything of ours that works for a job: the services and servers, and the miners. */
function processesOf(product: Product, fleet: MinerFleet): Record<string, number> {
  const running = product.supervisor.report().flatMap(({ name, pid }) => (pid === null ? [] : [[name, pid] as const]));
  return { ...Object.fromEntries(running), miners: fleet.pid };
}

export function wholeProduct(
  product: Product,
  client: ProductClient,
  fleet: MinerFleet,
  { bare }: { bare: boolean },
): Contender {
  const state = new ProductState(product);
  const submitted: string[] = [];
  const submit = async (seed: number): Promise<string> => {
    const { id } = await client.submit(seed);
    submitted.push(id);
    return id;
  };
  return {
    name: bare ? PRODUCT_BARE : PRODUCT,
    what: bare
      ? 'the same, results remembered instead of checked and kept again'
      : 'HTTP in, durable, dispatched, checked, kept, awarded in the ledger, 10 % audited',
    peer: bare ? GRAPHILE_BARE : GRAPHILE,
    processes: () => processesOf(product, fleet),
    prepare: async () => setRemembering(product, bare),
    burst: async (count) => {
      const before = await state.ledgerEntries();
      const ms = await timed(async () => {
        await closedLoop(count, WIDTH, async (index) => void (await submit(index)));
        while ((await state.ledgerEntries()) < before + count) await sleep(POLL_MS);
      });
      return ms / 1_000;
    },
    settle: () => state.settled(),
    paced: async (count, perSecond) => {
      const times: PacedTimes = { total: [], submit: [] };
      await openLoop(count, perSecond, async (index) => {
        const start = performance.now();
        const id = await submit(index);
        times.submit.push(performance.now() - start);
        await client.finished(id);
        times.total.push(performance.now() - start);
      });
      return times;
    },
    rest: () => state.settled(),
    verify: () => state.problems(submitted),
  };
}

/**
 * What graphile-worker is compared with: no HTTP ingress, no audits meanwhile. Jobs enter through the store that the api
 * uses; the auditor is stopped during the burst and catches up afterwards, so that the jobs are awarded and audited too.
 */
export async function engine(product: Product, fleet: MinerFleet): Promise<Contender & { stop(): Promise<void> }> {
  const log = createLogger({ name: 'bench', level: 'warn', format: 'line' });
  const nats = await connectNats(product.endpoints.nats, 'bench', log);
  const database = await connectDataSource({ url: product.endpoints.postgres('studio_querier'), name: 'bench' });
  const jobs = new JobStore(database, (kinds) => kinds.forEach((kind) => publishHint(nats, jobReadySubject(kind), {})));
  const state = new ProductState(product);
  const input = await state.anyInput();
  const submitted: string[] = [];
  const submit = async (seed: number): Promise<void> => {
    const job = newJob(product.clientId, { ...input, seed });
    submitted.push(job.id);
    await jobs.submit(job);
  };
  const auditor = product.supervisor.report().find(({ name }) => name === 'auditor')!.pid!;
  return {
    name: ENGINE,
    what: 'durable, dispatched, recorded; without HTTP ingress, audits and ledger, results remembered',
    peer: GRAPHILE_BARE,
    processes: () => processesOf(product, fleet),
    prepare: async () => {
      setRemembering(product, true);
      process.kill(auditor, 'SIGSTOP');
    },
    burst: async (count) => {
      const all = Array.from({ length: count }, (_, index) => index);
      const ms = await timed(async () => {
        await Promise.all(all.map(submit));
        while ((await state.unfinished()) > 0) await sleep(POLL_MS);
      });
      return ms / 1_000;
    },
    rest: async () => {
      process.kill(auditor, 'SIGCONT');
      await state.settled();
    },
    verify: () => state.problems(submitted),
    stop: async () => {
      process.kill(auditor, 'SIGCONT');
      await database.destroy();
      await nats.close();
    },
  };
}

function newJob(clientId: string, input: InferenceInput): NewJob {
  const job = {
    kind: 'lora-inference',
    engine: 'ref-sep-v1',
    input,
    routing: {},
    private: false,
    webhook: null,
  } as const;
  const requestHash = createHash('sha256').update(JSON.stringify(job)).digest('hex');
  const timeoutMs = taskKind(job.kind, job.engine).timeoutMs(input);
  const waits = { deadlineS: null, startDeadlineS: null, presentation: null };
  return { ...job, ...waits, id: uuid(), clientId, idempotencyKey: null, requestHash, timeoutMs };
}

function setRemembering({ rememberFlag }: Product, on: boolean): void {
  if (on) writeFileSync(rememberFlag, '');
  else rmSync(rememberFlag, { force: true });
}
