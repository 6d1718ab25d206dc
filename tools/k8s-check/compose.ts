/** compose.yaml: what it says of images, variables, secrets and hosts is true of the Dockerfile and the code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { clusterSecrets } from '@studio/launcher/cluster-secrets';
import { scoresAccountFiles } from '@studio/launcher/servers/scores-account';
import { variableProblems } from './environment';
import { BY_IMAGE, type Variables } from './programs';
import { ROOT } from './render';
import type { Container } from './resource';

interface Service {
  image: string;
  build?: { target: string };
  pull_policy?: string;
  command?: string[];
  environment?: Variables;
  volumes?: (string | { target: string })[];
}

type Say = (field: string, message: string) => string;

export function composeProblems(text = readFileSync(join(ROOT, 'compose.yaml'), 'utf8')): string[] {
  const { services } = parse(text, { merge: true }) as { services: Record<string, Service> };
  const secrets = secretFiles();
  return [
    ...imageProblems(Object.values(services)),
    ...Object.entries(services).flatMap(([name, service]) => {
      const say: Say = (field, message) => `compose.yaml: ${name}: ${field}: ${message}`;
      return [
        ...buildProblems(service, say),
        ...environmentProblems(name, service, secrets, say),
        ...hostProblems(service, new Set(Object.keys(services)), say),
      ];
    }),
  ];
}

const OURS = /^dippy-studio\/([\w-]+):(.+)$/;

/** Every image of ours is built by some service, and all are of one release. */
function imageProblems(services: readonly Service[]): string[] {
  const built = new Set(services.filter(({ build }) => build).map(({ image }) => image));
  const ours = [...new Set(services.map(({ image }) => image).filter((image) => OURS.test(image)))];
  const versions = new Set(ours.map((image) => OURS.exec(image)?.[2]));
  return [
    ...ours
      .filter((image) => !built.has(image))
      .map((image) => `compose.yaml: ${image}: no service builds it: add build to one of them`),
    ...(versions.size > 1 ? [`compose.yaml: versions ${[...versions].join(', ')}: one release alone`] : []),
  ];
}

function buildProblems({ image, build, pull_policy }: Service, say: Say): string[] {
  const target = OURS.exec(image)?.[1];
  if (target === undefined) return [];
  const isRight = !build || (build.target === target && target in BY_IMAGE);
  return [
    ...(isRight
      ? []
      : [say('build.target', `is ${build.target}, the image ${image}: name the same target of the Dockerfile`)]),
    ...(pull_policy === 'never'
      ? []
      : [say('pull_policy', 'has to be never: a registry may hold a stranger’s image of this name')]),
  ];
}

/** `volume:target[:ro]`, or an anonymous volume's target alone. */
const targetOf = (volume: string | { target: string }): string =>
  typeof volume === 'string' ? (volume.split(':')[1] ?? volume) : volume.target;

function environmentProblems(name: string, service: Service, secrets: ReadonlySet<string>, say: Say): string[] {
  const { image, command, environment = {}, volumes = [] } = service;
  const targets = volumes.map(targetOf);
  const volumeMounts = targets.map((mountPath) => ({ name: mountPath, mountPath }));
  const container: Container = { name, image, command, volumeMounts };
  return [
    ...variableProblems(container, environment, new Set(targets)),
    ...Object.entries(environment)
      .filter(([, value]) => value.startsWith(SECRETS) && !secrets.has(value))
      .map(([variable, value]): [string, string] => [
        `env.${variable}`,
        `no secret ${value} is made: correct the path`,
      ]),
  ].map(([field, message]) => say(field, message));
}

/** Where the service `keys` writes. */
const SECRETS = '/secrets/dev';

function secretFiles(): Set<string> {
  const secrets = Object.entries(clusterSecrets({})).flatMap(([secret, files]) =>
    Object.keys(files).map((key) => join(SECRETS, secret, key)),
  );
  const { registryCreds, signingKey } = scoresAccountFiles(join(SECRETS, 'scores-account'));
  return new Set([...secrets, registryCreds, signingKey]);
}

/** URLs lead to services of this file. */
function hostProblems({ environment = {} }: Service, services: ReadonlySet<string>, say: Say): string[] {
  return Object.entries(environment)
    .filter(([, value]) => /^\w+:\/\//.test(value))
    .filter(([, value]) => !services.has(new URL(value).hostname))
    .map(([name, value]) => say(`env.${name}`, `there is no service ${new URL(value).hostname}: correct ${value}`));
}
