/** The registry as `npm start` runs it, with its servers and nothing else. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openInstallation } from '@studio/launcher/system/installation';
import { registryUrl, serviceSpecs, type Places } from '@studio/launcher/system/processes';
import { Supervisor } from '@studio/launcher/system/supervisor';
import { answersOk, until } from '@studio/launcher/system/until';
import type { RegistryIdentity } from '@studio/shared/contract/miners';
import { cpuMs, mainThreadCpuMs } from './process-cpu';
import { startServers } from './product-system';

export interface LoopDelay {
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

export interface RegistryCpu {
  /** The registry's event loop. */
  loop: number;
  /** The registry with all its threads. */
  registry: number;
  postgres: number;
}

export interface RegistryUnderTest {
  url: string;
  /** SS58. */
  identity: string;
  /** May read and write everything. */
  ownerUrl: string;
  natsUrl: string;
  /** Where signatures are checked from now on. */
  verifyOnLoop(onLoop: boolean): void;
  /** Delay of the event loop since this was asked last, by the registry's own metrics. */
  loopDelay(): Promise<LoopDelay>;
  /** So far. */
  cpuMs(): RegistryCpu;
  stop(): Promise<void>;
}

const READY_MS = 60_000;

/** What Node's delay histogram adds to every value: the interval of its own timer. */
const TIMER_MS = 10;

export async function startRegistry(
  root: string,
  dataDir: string,
  say: (line: string) => void,
): Promise<RegistryUnderTest> {
  const places: Places = { root, dataDir, outDir: dataDir };
  const installation = openInstallation(dataDir);
  const flag = join(dataDir, 'verify-on-loop');
  let fatal: Error | null = null;
  const supervisor = new Supervisor(
    join(dataDir, 'logs'),
    (name, how) => say(`${name} ended (${how})`),
    (error) => (fatal = error),
  );
  try {
    const { services, ownerUrl } = await startServers(root, dataDir, installation, supervisor, say);
    const url = registryUrl(services);
    const spec = serviceSpecs(places, services, installation, []).find(({ name }) => name === 'registry')!;
    const NODE_OPTIONS = `--require ${join(__dirname, 'verify-on-loop.js')}`;
    supervisor.run({ ...spec, env: { ...spec.env, NODE_OPTIONS, BENCH_VERIFY_ON_LOOP_FLAG: flag } });
    const ready = (): Promise<boolean> => (fatal ? Promise.reject(fatal) : answersOk(`${url}/health/ready`));
    await until('the registry is ready', READY_MS, ready, supervisor);
    const { hotkey } = (await (await fetch(`${url}/v1/identity`)).json()) as RegistryIdentity;
    const pid = (name: string): number => supervisor.report().find((each) => each.name === name)?.pid ?? 0;
    return {
      url,
      identity: hotkey,
      ownerUrl,
      natsUrl: services.nats,
      verifyOnLoop: (onLoop) => (onLoop ? writeFileSync(flag, '') : rmSync(flag, { force: true })),
      loopDelay: async () => readLoopDelay(await (await fetch(`${url}/metrics`)).text()),
      cpuMs: () => ({
        loop: mainThreadCpuMs(pid('registry')),
        registry: cpuMs([pid('registry')]),
        postgres: cpuMs([pid('postgres')]),
      }),
      stop: () => supervisor.stop(),
    };
  } catch (error) {
    await supervisor.stop();
    throw fatal ?? error;
  }
}

/** prom-client empties the histogram whenever it is read. */
export function readLoopDelay(metrics: string): LoopDelay {
  const overTimer = (name: string): number => {
    const line = new RegExp(`^nodejs_eventloop_lag_${name}_seconds\\S* (\\S+)$`, 'm').exec(metrics);
    return Math.max(0, Number(line?.[1] ?? Number.NaN) * 1_000 - TIMER_MS);
  };
  return { p50Ms: overTimer('p50'), p99Ms: overTimer('p99'), maxMs: overTimer('max') };
}
