import type { TestServers } from './test-servers';

export default async function teardown(): Promise<void> {
  await (globalThis as { studioTestServers?: TestServers }).studioTestServers?.stop();
}
