import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROLES, type Role } from '@studio/shared/database/grants';

/** What one data directory keeps from run to run: secrets, and the ports it would like to have again. */
export interface Installation {
  rolePasswords: Record<Role, string>;
  urlSecret: string;
  adminKey: string;
  orchestratorSeed: string;
  /** sr25519 mini secrets by miner name, hex. */
  minerSeeds: Record<string, string>;
  clientId: string;
  ports: Record<string, number>;
}

const FILE = 'installation.json';

/** Reads the installation of `dataDir`, or makes one. Throws with the remedy when the file is not readable JSON. */
export function openInstallation(dataDir: string): Installation {
  mkdirSync(dataDir, { recursive: true });
  const path = join(dataDir, FILE);
  if (!existsSync(path)) return newInstallation();
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Installation;
  } catch (cause) {
    throw new Error(`${path} is damaged; start with --fresh to begin with new data`, { cause });
  }
}

/** Written whole or not at all; readable by its owner only. */
export function saveInstallation(dataDir: string, installation: Installation): void {
  const path = join(dataDir, FILE);
  writeFileSync(`${path}.new`, JSON.stringify(installation, null, 2), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function newInstallation(): Installation {
  const hex = () => randomBytes(32).toString('hex');
  return {
    rolePasswords: Object.fromEntries(ROLES.map((role) => [role, hex()])) as Record<Role, string>,
    urlSecret: hex(),
    adminKey: hex(),
    orchestratorSeed: hex(),
    minerSeeds: {},
    clientId: randomUUID(),
    ports: {},
  };
}

export function minerSeed(installation: Installation, name: string): string {
  return (installation.minerSeeds[name] ??= randomBytes(32).toString('hex'));
}
