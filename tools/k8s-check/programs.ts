/** Which program a container runs, and which variables that program reads. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { getMetadataStorage } from 'class-validator';
import { DatabaseEnv, MigrateEnv } from '@studio/shared/database/env';
import { loadEnv } from '@studio/shared/platform/env';
import { AuditorEnv } from '@studio/auditor/env';
import { ClusterDemoEnv } from '@studio/launcher/cluster-env';
import { MinerEnv, readEnv } from '@studio/miner/env';
import { commonOptions, runOptions } from '@studio/validator/commands/options';
import { QuerierEnv, DatabaseEnv as QuerierDatabaseEnv } from '@studio/querier/env';
import { RegistryEnv } from '@studio/registry/env';
import { Command } from 'commander';
import { ROOT } from './render';
import type { Container } from './resource';

export type Variables = Record<string, string>;

export interface Program {
  reads: ReadonlySet<string>;
  /** Reads the environment as the program does at its start. @throws Error saying what is wrong */
  load(variables: Variables, read: (path: string) => string): void;
}

function named(Class: new () => object): Set<string> {
  const rules = getMetadataStorage().getTargetValidationMetadatas(Class, '', false, false);
  return new Set(rules.map(({ propertyName }) => propertyName));
}

const ofClass = (Class: new () => object): Program => ({
  reads: named(Class),
  load: (variables, read) => void loadEnv(Class, variables, read),
});

/** POD_NAME is not read by the program: others are made of it. */
const miner: Program = {
  reads: new Set([...named(MinerEnv), 'POD_NAME']),
  load: (variables) => void readEnv(MinerEnv, variables),
};

const validator: Program = {
  reads: new Set([
    ...runOptions(commonOptions(new Command())).options.flatMap(({ envVar }) => envVar ?? []),
    'VALIDATOR_SEED',
    'PYLON_TOKEN',
  ]),
  load: ({ REGISTRY_URL }) => {
    if (!REGISTRY_URL) throw new Error('REGISTRY_URL is not set');
  },
};

/** By the script that is started. */
const BY_SCRIPT: Record<string, Program> = {
  'services/querier/dist/main.js': ofClass(QuerierEnv),
  'services/querier/dist/access/main.js': ofClass(QuerierDatabaseEnv),
  'services/auditor/dist/main.js': ofClass(AuditorEnv),
  'services/registry/dist/main.js': ofClass(RegistryEnv),
  'libs/shared/dist/database/main.js wait': ofClass(DatabaseEnv),
  'libs/shared/dist/database/main.js migrate': ofClass(MigrateEnv),
  'clients/miner/dist/main.js': miner,
  'clients/validator/dist/main.js run': validator,
  'tools/launcher/dist/cluster-demo.js': ofClass(ClusterDemoEnv),
  'tools/launcher/dist/k8s-secrets.js': { reads: new Set(), load: () => undefined },
};

/** What an image starts by itself, as the Dockerfile says (dockerfile.ts holds the two together). */
export const BY_IMAGE: Record<string, string> = {
  querier: 'services/querier/dist/main.js',
  auditor: 'services/auditor/dist/main.js',
  registry: 'services/registry/dist/main.js',
  migrate: 'libs/shared/dist/database/main.js migrate',
  tools: 'clients/miner/dist/main.js',
};

/** Undefined for what is not ours: engines and their like. @throws Error for a program of ours that is not there, or not in the list. */
export function programOf({ image, command }: Container): Program | undefined {
  const name = /dippy-studio\/([\w-]+)[:@]/.exec(`${image}:`)?.[1];
  if (name === undefined) return undefined;
  const line = command?.join(' ') ?? BY_IMAGE[name] ?? '';
  const script = Object.keys(BY_SCRIPT).find((each) => line.includes(each));
  if (!script) throw new Error(`starts "${line}", of which programs.ts knows nothing: add its variables there`);
  const source = script.replace('/dist/', '/src/').replace(/\.js.*$/, '.ts');
  if (!existsSync(join(ROOT, source))) throw new Error(`starts ${script}, but there is no ${source}: correct it`);
  return BY_SCRIPT[script];
}
