import { MigrateEnv } from './env';
import { passwordsOf } from './role-passwords';

const env = (fields: Partial<MigrateEnv>): MigrateEnv => Object.assign(new MigrateEnv(), fields);
const url = (role: string, password: string): string => `postgres://${role}:${password}@db/studio`;
const all = {
  QUERIER_POSTGRES_URL: url('studio_querier', 'q%20w'),
  AUDITOR_POSTGRES_URL: url('studio_auditor', 'a'),
  REGISTRY_POSTGRES_URL: url('studio_registry', 'r'),
};

describe('passwordsOf', () => {
  it('takes the passwords out of the services’ own URLs', () => {
    expect(passwordsOf(env(all))).toEqual({ studio_querier: 'q w', studio_auditor: 'a', studio_registry: 'r' });
  });

  it('leaves the roles alone where no URL is given', () => {
    expect(passwordsOf(env({}))).toBeUndefined();
  });

  it.each([
    [{ AUDITOR_POSTGRES_URL: undefined }, 'AUDITOR_POSTGRES_URL is not set'],
    [{ AUDITOR_POSTGRES_URL: url('studio_querier', 'a') }, 'AUDITOR_POSTGRES_URL has to be the URL of studio_auditor'],
    [{ AUDITOR_POSTGRES_URL: 'postgres://studio_auditor@db/studio' }, 'with its password'],
  ])('refuses %j', (change, message) => {
    expect(() => passwordsOf(env({ ...all, ...change }))).toThrow(message);
  });
});
