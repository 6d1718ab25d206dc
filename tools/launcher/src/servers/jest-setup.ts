import { startTestServers, type TestServers } from './test-servers';

/** Setup and teardown are loaded as separate modules: the process is what they share. */
const testRun = globalThis as { studioTestServers?: TestServers };

/** Jest's global setup of the projects with real servers; jest-teardown.ts ends what this starts. */
export default async function setup(jest: { maxWorkers: number }, project: { rootDir: string }): Promise<void> {
  const servers = await startTestServers(project.rootDir, jest.maxWorkers);
  testRun.studioTestServers = servers;
  // Jest does not tear down on a signal.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void servers.stop().finally(() => process.kill(process.pid, signal)));
  }
}
