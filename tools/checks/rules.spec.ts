/**
 * A rule that never failed may not work. Each is broken once, beside a variant that keeps it, in a workspace in miniature
 * under the real rule files; the tools run once over all of it.
 */
import { Finding, MiniWorkspace } from './mini-workspace';

interface Case {
  rule: string;
  /** Completes "reports …". */
  what: string;
  /** Path and text. */
  breaks: readonly [string, string];
  keeps: readonly [string, string];
}

const lines = (count: number): string => '// line\n'.repeat(count - 1) + 'export const x = 1;\n';
const longFunction = (statements: number): string =>
  `export function f(): void {\n${'  g();\n'.repeat(statements)}}\nfunction g(): void {}\n`;
const domainConstant = (name: string, expression: string): readonly [string, string] => [
  `libs/shared/src/domain/${name}.ts`,
  `export const x = (): unknown => ${expression};\n`,
];
const importing = (path: string, specifier: string): readonly [string, string] => [
  path,
  `import * as it from '${specifier}';\nexport const x = it;\n`,
];

/** Targets of imports, and what gives every layer a file. */
const SUPPORT: Record<string, string> = {
  'libs/shared/src/domain/points.ts': 'export const one = 1;\n',
  'libs/shared/src/domain/points.spec.ts': "import { one } from './points';\nexport const x = one;\n",
  'libs/shared/src/protocol/canonical.ts': "import { one } from '../domain/points';\nexport const two = one + one;\n",
  'libs/shared/src/contract/message.ts': "import { one } from '../domain/points';\nexport const message = one;\n",
  'libs/shared/src/platform/clock.ts': "import { one } from '../domain/points';\nexport const clock = one;\n",
  'libs/shared/src/testing/postgres.ts': "import { one } from '../domain/points';\nexport const postgres = one;\n",
  'engines/ref-sep/src/sine.ts': 'export const sine = (x: number): number => x;\n',
  'services/registry/src/ledger.ts':
    "import { one } from '@studio/shared/domain/points';\nexport const ledger = one;\n",
  'services/querier/src/hen.ts': "import * as egg from './egg';\nexport const x = egg;\n",
  'clients/miner/src/work.ts': "import { one } from '@studio/shared/domain/points';\nexport const work = one;\n",
  'tools/launcher/src/ports.ts': "import { one } from '@studio/shared/domain/points';\nexport const port = one;\n",
};

const LINT_CASES: Case[] = [
  {
    rule: '@typescript-eslint/no-explicit-any',
    what: 'any',
    breaks: ['services/querier/src/any.ts', 'export function f(x: any): unknown {\n  return x;\n}\n'],
    keeps: ['services/querier/src/unknown.ts', 'export function f(x: unknown): unknown {\n  return x;\n}\n'],
  },
  {
    rule: '@typescript-eslint/no-floating-promises',
    what: 'a promise that nobody awaits',
    breaks: ['services/querier/src/floating.ts', 'async function f(): Promise<void> {}\nf();\n'],
    keeps: ['services/querier/src/explicit.ts', 'async function f(): Promise<void> {}\nvoid f();\n'],
  },
  {
    rule: '@typescript-eslint/switch-exhaustiveness-check',
    what: 'a switch that forgets a state',
    breaks: [
      'services/querier/src/partial.ts',
      "export function f(s: 'a' | 'b'): void {\n  switch (s) {\n    case 'a':\n      return;\n  }\n}\n",
    ],
    keeps: [
      'services/querier/src/total.ts',
      "export function f(s: 'a' | 'b'): void {\n  switch (s) {\n    case 'a':\n    case 'b':\n      return;\n  }\n}\n",
    ],
  },
  {
    rule: '@typescript-eslint/ban-ts-comment',
    what: '@ts-ignore',
    breaks: ['services/querier/src/ignored.ts', "// @ts-ignore\nexport const x: number = '1';\n"],
    keeps: [
      'services/querier/src/expected.ts',
      "// @ts-expect-error: the declaration says string, the driver gives a number\nexport const x: number = '1';\n",
    ],
  },
  {
    rule: 'max-lines',
    what: 'a file of 401 lines',
    breaks: ['services/querier/src/long.ts', lines(401)],
    keeps: ['services/querier/src/full.ts', lines(400)],
  },
  {
    rule: 'max-lines',
    what: 'a spec of 601 lines',
    breaks: ['services/querier/src/long.spec.ts', lines(601)],
    keeps: ['services/querier/src/full.spec.ts', lines(600)],
  },
  {
    rule: 'max-lines-per-function',
    what: 'a function of 61 lines',
    breaks: ['services/querier/src/long-function.ts', longFunction(59)],
    keeps: ['services/querier/src/full-function.ts', longFunction(58)],
  },
  {
    rule: 'max-lines-per-function',
    what: 'a long function, except in a spec',
    breaks: ['services/querier/src/described.ts', longFunction(100)],
    keeps: ['services/querier/src/described.spec.ts', longFunction(100)],
  },
  {
    rule: 'no-warning-comments',
    what: 'work left for later',
    breaks: ['services/querier/src/later.ts', '// TODO finish\nexport const x = 1;\n'],
    keeps: ['services/querier/src/done.ts', '// One is the count of everything.\nexport const x = 1;\n'],
  },
  {
    rule: 'eslint',
    what: 'a disable directive that disables nothing',
    breaks: ['services/querier/src/unused.ts', '// eslint-disable-next-line no-console\nexport const x = 1;\n'],
    keeps: ['services/querier/src/used.ts', '// eslint-disable-next-line no-console\nconsole.log(1);\n'],
  },
  {
    rule: 'no-restricted-syntax',
    what: 'export * (a barrel)',
    breaks: ['services/querier/src/everything.ts', "export * from './env';\n"],
    keeps: ['services/querier/src/named.ts', "import { config } from './env';\nexport const x = config;\n"],
  },
  {
    rule: 'no-restricted-syntax',
    what: 'a focused test',
    breaks: ['services/querier/src/focused.spec.ts', "it.only('is alone', () => undefined);\n"],
    keeps: ['services/querier/src/all.spec.ts', "it('is one of many', () => undefined);\n"],
  },
  {
    rule: 'no-restricted-properties',
    what: 'process.env outside env.ts',
    breaks: ['services/querier/src/dispatcher.ts', 'export const x = process.env.PORT;\n'],
    keeps: ['services/querier/src/env.ts', 'export const config = process.env.PORT;\n'],
  },
  {
    rule: 'no-restricted-imports',
    what: 'env imported from node:process outside env.ts',
    breaks: [
      'services/querier/src/imports-env.ts',
      "import { env } from 'node:process';\nexport const x = env.PORT;\n",
    ],
    keeps: ['services/auditor/src/env.ts', "import { env } from 'node:process';\nexport const x = env.PORT;\n"],
  },
  {
    rule: 'no-console',
    what: 'console in a service',
    breaks: ['services/querier/src/prints.ts', "console.log('hello');\n"],
    keeps: ['tools/launcher/src/prints.ts', "console.log('hello');\n"],
  },
  {
    rule: 'no-restricted-globals',
    what: 'fetch in a service',
    breaks: ['services/querier/src/fetches.ts', "export const x = fetch('http://example.org');\n"],
    keeps: ['clients/miner/src/fetches.ts', "export const x = fetch('http://example.org');\n"],
  },
  ...['Math.exp(1)', 'Math.sin(1)', 'Math.pow(2, 3)', 'Math.hypot(1, 1)', 'Math.random()'].map((expression) => ({
    rule: 'no-restricted-syntax',
    what: `${expression} in the engine`,
    breaks: [
      `engines/ref-sep/src/inexact-${expression.slice(5, 8)}.ts`,
      `export const x = (): number => ${expression};\n`,
    ] as const,
    keeps: [
      `engines/ref-sep/src/oracle-${expression.slice(5, 8)}.spec.ts`,
      `export const x = (): number => ${expression};\n`,
    ] as const,
  })),
  {
    rule: 'no-restricted-syntax',
    what: 'Math taken apart, out of sight of the list',
    breaks: ['engines/ref-sep/src/apart.ts', 'const { exp } = Math;\nexport const x = exp;\n'],
    keeps: ['engines/ref-sep/src/whole.ts', 'export const x = (y: number): number => Math.sqrt(Math.floor(y));\n'],
  },
  {
    rule: 'no-restricted-syntax',
    what: 'Math reached by a computed name',
    breaks: ['engines/ref-sep/src/computed.ts', "export const x = Math['exp'](1);\n"],
    keeps: ['engines/ref-sep/src/direct.ts', 'export const x = Math.imul(3, 5);\n'],
  },
  {
    rule: 'no-restricted-syntax',
    what: '** in the domain',
    breaks: domainConstant('power', '2 ** 10'),
    keeps: domainConstant('product', '2 * 10'),
  },
  {
    rule: 'no-restricted-syntax',
    what: 'Math.log in the domain',
    breaks: domainConstant('logarithm', 'Math.log(2)'),
    keeps: domainConstant('rounding', 'Math.fround(2)'),
  },
  ...['Date.now()', 'performance.now()', 'process.pid', 'crypto.randomUUID()', 'setTimeout(() => 1, 1)', 'Buffer'].map(
    (expression, at) => ({
      rule: 'no-restricted-globals',
      what: `${expression} in the domain`,
      breaks: domainConstant(`ambient-${at}`, expression),
      keeps: [`libs/shared/src/platform/ambient-${at}.ts`, `export const x = (): unknown => ${expression};\n`] as const,
    }),
  ),
  {
    rule: 'no-restricted-globals',
    what: 'a clock in the engine',
    breaks: ['engines/ref-sep/src/clock.ts', 'export const x = (): number => Date.now();\n'],
    keeps: ['engines/ref-sep/src/timed.spec.ts', 'export const x = (): number => Date.now();\n'],
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'a service that imports another',
    breaks: importing('services/querier/src/nx-service.ts', '@studio/registry/ledger'),
    keeps: importing('services/querier/src/nx-shared.ts', '@studio/shared/platform/clock'),
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'a client that imports a service',
    breaks: importing('clients/miner/src/nx-service.ts', '@studio/registry/ledger'),
    keeps: importing('clients/miner/src/nx-engine.ts', '@studio/ref-sep/sine'),
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'shared code that imports a tool',
    breaks: importing('libs/shared/src/platform/nx-tool.ts', '@studio/launcher/ports'),
    keeps: importing('tools/launcher/src/nx-service.ts', '@studio/registry/ledger'),
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'an engine that imports a client',
    breaks: importing('engines/ref-sep/src/nx-client.ts', '@studio/miner/work'),
    keeps: importing('engines/ref-sep/src/nx-shared.ts', '@studio/shared/domain/points'),
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'a project that imports itself by name',
    breaks: importing('services/querier/src/nx-itself.ts', '@studio/querier/hen'),
    keeps: importing('services/querier/src/nx-own-file.ts', './nx-shared'),
  },
  {
    rule: '@nx/enforce-module-boundaries',
    what: 'a relative path into another project',
    breaks: importing('services/querier/src/nx-relative.ts', '../../../libs/shared/src/domain/points'),
    keeps: importing('services/querier/src/nx-by-name.ts', '@studio/shared/domain/points'),
  },
];

const IMPORT_CASES: Case[] = [
  {
    rule: 'domain-imports-nothing',
    what: 'a Node module in the domain',
    breaks: importing('libs/shared/src/domain/hash.ts', 'node:crypto'),
    keeps: importing('libs/shared/src/domain/total.ts', './points'),
  },
  {
    rule: 'domain-imports-nothing',
    what: 'a type of a higher layer in the domain',
    breaks: [
      'libs/shared/src/domain/typed.ts',
      "import type { message } from '../contract/message';\nexport type X = typeof message;\n",
    ],
    keeps: importing('libs/shared/src/domain/oracle.spec.ts', 'fast-check'),
  },
  {
    rule: 'protocol-imports-domain-and-crypto',
    what: 'the platform in the protocol',
    breaks: importing('libs/shared/src/protocol/late.ts', '../platform/clock'),
    keeps: importing('libs/shared/src/protocol/digest.ts', '@noble/hashes/sha2.js'),
  },
  {
    rule: 'contract-imports-domain-and-validation',
    what: 'a database driver in the contract',
    breaks: importing('libs/shared/src/contract/row.ts', 'pg'),
    keeps: importing('libs/shared/src/contract/validated.ts', 'class-validator'),
  },
  {
    rule: 'shared-knows-no-other-project',
    what: 'a service in the shared library',
    breaks: importing('libs/shared/src/platform/knows.ts', '@studio/registry/ledger'),
    keeps: importing('libs/shared/src/platform/knows-itself.ts', './clock'),
  },
  {
    rule: 'engine-is-pure',
    what: 'a file read by the engine',
    breaks: importing('engines/ref-sep/src/reads.ts', 'node:fs'),
    keeps: importing('engines/ref-sep/src/hashes.ts', 'node:crypto'),
  },
  {
    rule: 'engine-is-pure',
    what: 'the platform in the engine',
    breaks: importing('engines/ref-sep/src/logs.ts', '@studio/shared/platform/clock'),
    keeps: importing('engines/ref-sep/src/reads-format.ts', '@studio/shared/protocol/canonical'),
  },
  {
    rule: 'services-never-import-each-other',
    what: 'a service that imports another',
    breaks: importing('services/querier/src/neighbour.ts', '@studio/registry/ledger'),
    keeps: importing('services/registry/src/scores.ts', './ledger'),
  },
  {
    rule: 'services-never-import-programs',
    what: 'a client in a service',
    breaks: importing('services/querier/src/contains-client.ts', '@studio/miner/work'),
    keeps: importing('tools/launcher/src/contains-client.ts', '@studio/miner/work'),
  },
  {
    rule: 'only-the-auditor-reads-adapters',
    what: 'the engine in the querier',
    breaks: importing('services/querier/src/adapter.ts', '@studio/ref-sep/sine'),
    keeps: importing('services/auditor/src/adapter.ts', '@studio/ref-sep/sine'),
  },
  {
    rule: 'clients-see-only-the-wire',
    what: 'the platform in a client',
    breaks: importing('clients/miner/src/inside.ts', '@studio/shared/platform/clock'),
    keeps: importing('clients/miner/src/outside.ts', '@studio/shared/contract/message'),
  },
  {
    rule: 'clients-never-import-other-programs',
    what: 'a miner in a validator',
    breaks: importing('clients/validator/src/mines.ts', '@studio/miner/work'),
    keeps: importing('clients/miner/src/mines.ts', './work'),
  },
  {
    rule: 'testing-unreachable-from-production',
    what: 'a test database in production',
    breaks: importing('services/querier/src/tested.ts', '@studio/shared/testing/postgres'),
    keeps: importing('services/querier/src/tested.db.spec.ts', '@studio/shared/testing/postgres'),
  },
  {
    rule: 'nest-only-at-the-edge',
    what: 'Nest in a store',
    breaks: importing('services/querier/src/nested.store.ts', '@nestjs/common'),
    keeps: importing('services/querier/src/submit.controller.ts', '@nestjs/common'),
  },
  {
    rule: 'typeorm-only-in-stores',
    what: 'typeorm outside a store',
    breaks: importing('services/querier/src/sweeper.ts', 'typeorm'),
    keeps: importing('services/querier/src/job.store.ts', 'typeorm'),
  },
  {
    rule: 'one-door-to-the-outside',
    what: 'a second HTTP client',
    breaks: importing('services/querier/src/second-door.ts', 'undici'),
    keeps: importing('libs/shared/src/platform/egress.ts', 'undici'),
  },
  {
    rule: 'one-door-to-the-outside',
    what: "Node's own HTTP client",
    breaks: importing('services/querier/src/back-door.ts', 'node:https'),
    keeps: [
      'services/querier/src/request-type.ts',
      "import type { IncomingMessage } from 'node:http';\nexport type X = IncomingMessage;\n",
    ],
  },
  {
    rule: 'no-development-packages-in-production',
    what: 'a development package in production',
    breaks: importing('services/querier/src/generates.ts', 'fast-check'),
    keeps: importing('services/querier/src/generates.spec.ts', 'fast-check'),
  },
  {
    rule: 'no-undeclared-packages',
    what: 'a package that only another package declares',
    breaks: importing('services/querier/src/borrowed.ts', 'avvio'),
    keeps: importing('services/querier/src/declared.ts', 'pino'),
  },
  {
    rule: 'no-cycles',
    what: 'two files that import each other',
    breaks: importing('services/querier/src/egg.ts', './hen'),
    keeps: importing('services/querier/src/farm.ts', './hen'),
  },
  {
    rule: 'no-unresolvable',
    what: 'an import of a file that does not exist',
    breaks: importing('services/querier/src/lost.ts', '@studio/shared/domain/nowhere'),
    keeps: importing('services/querier/src/found.ts', '@studio/shared/domain/points'),
  },
  {
    rule: 'no-orphans',
    what: 'a file that nothing uses',
    breaks: ['services/querier/src/alone.ts', 'export const x = 1;\n'],
    keeps: ['services/querier/src/main.ts', 'export const x = 1;\n'],
  },
];

describe('the rules', () => {
  let workspace: MiniWorkspace;
  let findings: Finding[];

  beforeAll(async () => {
    const written = [...LINT_CASES, ...IMPORT_CASES].flatMap(({ breaks, keeps }) => [breaks, keeps]);
    workspace = await MiniWorkspace.create({ ...SUPPORT, ...Object.fromEntries(written) });
    const runs = [workspace.lint(), workspace.cruise()];
    // When one fails, the other still writes into the workspace that is then to be removed.
    await Promise.allSettled(runs);
    findings = (await Promise.all(runs)).flat();
  }, 120_000);

  afterAll(() => workspace.remove());

  const rulesIn = (file: string): string[] => findings.filter((found) => found.file === file).map(({ rule }) => rule);

  it.each([...LINT_CASES, ...IMPORT_CASES])('$rule reports $what', ({ rule, breaks, keeps }) => {
    expect(rulesIn(breaks[0])).toContain(rule);
    expect(rulesIn(keeps[0])).not.toContain(rule);
  });

  it('are all broken here: no import rule is without a case', () => {
    const { forbidden } = jest.requireActual<{ forbidden: { name: string }[] }>('../../.dependency-cruiser.cjs');
    expect(new Set(IMPORT_CASES.map(({ rule }) => rule))).toEqual(new Set(forbidden.map(({ name }) => name)));
  });
});
