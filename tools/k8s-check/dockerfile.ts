/** The Dockerfile: its targets start what the manifests take them to start, and it keeps the linter's rules. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BY_IMAGE } from './programs';
import { ROOT } from './render';

export function dockerfileProblems(text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')): string[] {
  const stages = text.split(/^FROM /m).slice(1);
  const commands = new Map(
    stages.map((stage) => [/^\S+ AS (\S+)/.exec(stage)?.[1], /^CMD \[(.*)\]$/m.exec(stage)?.[1]?.replace(/"|,/g, '')]),
  );
  const wrong = Object.entries(BY_IMAGE).filter(([target, script]) => commands.get(target) !== `node ${script}`);
  const missing = workspaces().filter((folder) => !text.includes(`COPY ${folder}/package.json ${folder}/`));
  return [
    ...missing.map((folder) => `Dockerfile: npm ci needs every workspace: COPY ${folder}/package.json ${folder}/`),
    ...wrong.map(([target, script]) => `Dockerfile: target ${target}: has to end with CMD node ${script}`),
    ...stages
      .filter((stage) => !/^\S+ AS \S+/.test(stage))
      .map((stage) => `Dockerfile: FROM ${stage.split('\n')[0]}: give every stage a name`),
    ...(/^USER \d+(:\d+)?$/m.test(text)
      ? []
      : ['Dockerfile: USER: has to be a number, or Kubernetes cannot tell that it is not root']),
  ];
}

function workspaces(): string[] {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as { packages: object };
  return Object.keys(lock.packages).filter((path) => path !== '' && !path.includes('node_modules/'));
}

/** Stages are built on each other, and the base is named by an argument: neither has a tag. */
const NOT_HERE = ['Base Image Missing Tag'];

/** The rules of dockerfilelint; its program prints JSON. */
export function lintProblems(path = join(ROOT, 'Dockerfile')): string[] {
  const program = join(ROOT, 'node_modules/dockerfilelint/bin/dockerfilelint');
  // Its exit status is the number of what it found.
  const { stdout } = spawnSync(process.execPath, [program, '-o', 'json', path], { encoding: 'utf8' });
  const { files } = JSON.parse(stdout) as { files: { issues: LintIssue[] }[] };
  return files
    .flatMap(({ issues }) => issues)
    .filter(({ title }) => !NOT_HERE.includes(title))
    .map(({ line, title, description }) => `Dockerfile:${line}: ${title}: ${description}`);
}

interface LintIssue {
  line: string;
  title: string;
  description: string;
}
