import { MinerEnv, readEnv, withFlags } from '../env';
import { REGISTER_FLAGS, RUN_FLAGS, SELF_TEST_FLAGS, flagOf, variablesOf } from './flags';

describe('the flags', () => {
  it('are called like their variables, without the prefix', () => {
    expect(flagOf('MINER_SLOTS_TRAINING')).toBe('--slots-training');
    expect(flagOf('REGISTRY_URL')).toBe('--registry-url');
    expect(flagOf('SELF_TEST_CALLBACK_URL')).toBe('--callback-url');
    expect(flagOf('METRICS_PORT')).toBe('--metrics-port');
  });

  it.each([
    ['run', RUN_FLAGS],
    ['register', REGISTER_FLAGS],
    ['self-test', SELF_TEST_FLAGS],
  ])('of %s have different names', (_, names) => {
    expect(new Set(names.map(flagOf)).size).toBe(names.length);
  });

  it('take the place of the environment, and leave the rest of it alone', () => {
    const flags = variablesOf({ port: '9000', slotsTraining: '2', json: true }, RUN_FLAGS);
    const env = readEnv(MinerEnv, withFlags(flags, { MINER_PORT: '1', MINER_NAME: 'ada' }));
    expect(env).toMatchObject({ MINER_PORT: 9000, MINER_SLOTS_TRAINING: 2, MINER_NAME: 'ada' });
  });

  it('need a value', () => {
    expect(() => variablesOf({ port: '' }, RUN_FLAGS)).toThrow('--port: a value is missing');
  });
});
