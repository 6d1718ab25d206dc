import { EnvError, loadEnv } from '@studio/shared/platform/env';
import { RegistryEnv } from './env';

const REQUIRED = {
  POSTGRES_URL: 'postgres://127.0.0.1/studio',
  NATS_URL: 'nats://127.0.0.1:4222',
  REDIS_URL: 'redis://127.0.0.1:6379',
  ADMIN_KEY: 'ab'.repeat(32),
  ORCHESTRATOR_SEED: 'cd'.repeat(32),
};

function problems(variables: Record<string, string>): readonly string[] {
  try {
    loadEnv(RegistryEnv, { ...REQUIRED, ...variables });
    return [];
  } catch (error) {
    return (error as EnvError).problems;
  }
}

describe('the environment of the registry', () => {
  it('does without a metagraph in development', () => {
    expect(loadEnv(RegistryEnv, REQUIRED).METAGRAPH).toBe('none');
  });

  it.each<Record<string, string>>([{}, { METAGRAPH: 'none' }])(
    'is refused without one in production, with the reason: %j',
    (variables) => {
      expect(problems({ NODE_ENV: 'production', ...variables })).toEqual([
        expect.stringMatching(/^METAGRAPH is .*: expected file or pylon when NODE_ENV=production: .*sybils/),
      ]);
    },
  );

  it('asks for what its source needs, and for nothing else', () => {
    expect(problems({ METAGRAPH: 'file' })).toEqual([expect.stringContaining('METAGRAPH_FILE is not set')]);
    expect(problems({ METAGRAPH: 'pylon' })).toEqual([
      expect.stringContaining('PYLON_URL is not set'),
      expect.stringContaining('NETUID is not set'),
    ]);
    const pylon = { METAGRAPH: 'pylon', PYLON_URL: 'http://pylon:8000', NETUID: '11' };
    expect(problems({ ...pylon, NODE_ENV: 'production' })).toEqual([]);
    expect(problems({ NODE_ENV: 'production', METAGRAPH: 'file', METAGRAPH_FILE: '/m.json' })).toEqual([]);
    expect(problems({ METAGRAPH: 'chain' })).toEqual([expect.stringContaining('none, file, pylon')]);
  });
});
