import type { MigrateEnv } from './env';
import type { RolePasswords } from './migrate';

/**
 * What the services will log in with, or undefined where the roles are somebody else's matter. Read from their own URLs, so
 * that a role's password and what its service sends are one value.
 * @throws Error naming the variable that is missing or of another role.
 */
export function passwordsOf(env: MigrateEnv): RolePasswords | undefined {
  const urls = {
    studio_querier: { name: 'QUERIER_POSTGRES_URL', url: env.QUERIER_POSTGRES_URL },
    studio_auditor: { name: 'AUDITOR_POSTGRES_URL', url: env.AUDITOR_POSTGRES_URL },
    studio_registry: { name: 'REGISTRY_POSTGRES_URL', url: env.REGISTRY_POSTGRES_URL },
  };
  if (Object.values(urls).every(({ url }) => url === undefined)) return undefined;
  return {
    studio_querier: passwordIn(urls.studio_querier, 'studio_querier'),
    studio_auditor: passwordIn(urls.studio_auditor, 'studio_auditor'),
    studio_registry: passwordIn(urls.studio_registry, 'studio_registry'),
  };
}

function passwordIn({ name, url }: { name: string; url?: string }, role: string): string {
  if (url === undefined) throw new Error(`${name} is not set: give the URLs of all three services, or of none`);
  const { username, password } = new URL(url);
  if (decodeURIComponent(username) !== role || password === '') {
    throw new Error(`${name} has to be the URL of ${role} with its password, as postgres://${role}:…@host/studio`);
  }
  return decodeURIComponent(password);
}
