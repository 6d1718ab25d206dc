/** The checks that are scripts of our own, each broken once beside a variant that keeps the rule. */

interface Tree {
  files: string[];
  scripts: Record<string, string[]>;
}

const { layoutProblems } = jest.requireActual<{ layoutProblems(files: string[]): string[] }>('./layout.mjs');
const { documentProblems } = jest.requireActual<{
  documentProblems(document: string, text: string, tree: Tree): string[];
}>('./documents.mjs');
const { errorCodeProblems } = jest.requireActual<{
  errorCodeProblems(registry: string, document: string): string[];
}>('./error-codes.mjs');
const { lockProblems } = jest.requireActual<{
  lockProblems(lock: { packages: Record<string, { resolved?: string }> }): string[];
}>('./lock.mjs');

const { subjectProblems } = jest.requireActual<{
  subjectProblems(registry: string, sources: Record<string, string>): string[];
}>('./subjects.mjs');

describe('layout', () => {
  /** A neighbour, so that a file is not also alone in its folder. */
  const beside = (file: string): string[] => [file, file.replace(/[^/]+$/, 'neighbour.ts')];

  it.each(['services/querier/src/index.ts', 'libs/shared/src/domain/index.mjs'])('reports the barrel %s', (file) => {
    expect(layoutProblems(beside(file))).toEqual([expect.stringContaining(`${file}: no barrels`)]);
  });

  it.each([
    'services/querier/src/utils/clock.ts',
    'services/querier/src/helpers.ts',
    'services/querier/src/job.types.ts',
    'services/querier/src/string-utils.ts',
    'services/querier/src/job-manager.ts',
    'clients/miner/lib/run.mjs',
    'libs/common/src/a.ts',
  ])('reports the bucket %s', (file) => {
    expect(layoutProblems(beside(file))).toContainEqual(expect.stringMatching(`^${file}: .* is a bucket`));
  });

  it.each(['libs/shared/src/domain/points.ts', 'services/querier/src/job.store.ts', 'bench/typescript.ts'])(
    'accepts %s',
    (file) => {
      expect(layoutProblems(beside(file))).toEqual([]);
    },
  );

  it('reports a folder for one file', () => {
    const files = ['services/querier/src/main.ts', 'services/querier/src/http/submit.ts'];
    expect(layoutProblems(files)).toEqual([expect.stringMatching(/http\/submit\.ts: no folder for one file/)]);
    expect(layoutProblems([...files, 'services/querier/src/http/status.ts'])).toEqual([]);
  });

  it('lets the folders that the layout gives begin with one file', () => {
    const overlays = ['deploy/k8s/overlays/dev/kustomization.yaml', 'deploy/k8s/overlays/keda/kustomization.yaml'];
    expect(layoutProblems(overlays)).toEqual([]);
    expect(layoutProblems(['deploy/k8s/README.md', 'docs/decisions/0001-postgres.md', 'e2e/demo.e2e.ts'])).toEqual([]);
  });
});

describe('documents', () => {
  const tree: Tree = {
    files: ['package.json', 'docs/errors.md', 'libs/shared/src/domain/points.ts', 'services/querier/src/job.store.ts'],
    scripts: { '': ['start', 'check'], '@studio/shared': ['build'] },
  };
  const problems = (text: string): string[] => documentProblems('docs/guide.md', text, tree);

  it.each([
    ['a path', 'see `libs/shared/src/domain/gone.ts`'],
    ['a folder', 'see `services/gone/`'],
    ['a file by its name', 'see `gone.store.ts`'],
    ['a pattern that matches nothing', 'see `services/*/src/gone.ts`'],
    ['a link', 'see [the guide](gone.md)'],
    ['a picture', '![a picture](../docs/gone.png)'],
    ['a script', 'run `npm run gone`'],
    ['a short command', 'run `npm test`'],
    ['a script in a block', '```sh\nnpm run gone\n```'],
    ['a script of a package', 'run `npm run check -w @studio/shared`'],
    ['a package', 'run `npm run build -w @studio/gone`'],
  ])('reports %s that does not exist', (_what, text) => {
    expect(problems(text)).toHaveLength(1);
  });

  it.each([
    'see `libs/shared/src/domain/points.ts`, `libs/shared/src/domain/points.ts:12` and `services/querier/`',
    'see `points.ts`, `domain/points.ts`, `*.gone.ts` and `services/*/src/job.store.ts`',
    'see [errors](errors.md#codes), [all](../package.json), [web](https://example.org/x.md) and [below](#below)',
    'run `npm start`, `npm run check -- lint` and `npm run build -w @studio/shared`',
    'it writes `weights.json`, `out/report.json`, `.data/` and `libs/shared/dist/domain/points.js`',
    'it answers `GET /v1/jobs/{id}` with `application/json` and `x/y`',
    '```\nlibs/gone.ts in a drawing\n```',
  ])('accepts: %s', (text) => {
    expect(problems(text)).toEqual([]);
  });
});

describe('error codes', () => {
  const registry =
    "export const ERRORS = {\n  NOT_FOUND: { status: 404, title: 'x' },\n  INTERNAL: { status: 500, title: 'y' },\n};\n";
  const notFound = '| `NOT_FOUND` | 404 | No such thing. |\n';
  const internal = '| `INTERNAL` | 500 | Ours. |\n';

  it.each([
    ['a code that is not explained', notFound, 'INTERNAL is not explained'],
    ['a code that does not exist', notFound + internal + '| `GONE` | 410 | x |\n', 'GONE is not in'],
    ['another status', notFound + internal.replace('500', '503'), 'INTERNAL has status 500'],
    ['a code explained twice', notFound + internal + internal, 'INTERNAL is listed twice'],
  ])('reports %s', (_what, document, problem) => {
    expect(errorCodeProblems(registry, document)).toEqual([expect.stringContaining(problem)]);
  });

  it('accepts a document that lists exactly the registry', () => {
    expect(errorCodeProblems(registry, notFound + internal)).toEqual([]);
  });

  it('reports a registry in which it finds nothing, rather than comparing nothing', () => {
    expect(errorCodeProblems('export enum Errors {}', '')).toHaveLength(1);
  });
});

describe('lock', () => {
  it('reports a package pinned to one registry', () => {
    const lock = { packages: { 'node_modules/x': { resolved: 'https://registry.example/x/-/x-1.0.0.tgz' } } };
    expect(lockProblems(lock)).toEqual([expect.stringContaining('"node_modules/x" names a registry')]);
  });

  it('accepts packages without an address and links to our own', () => {
    expect(
      lockProblems({ packages: { 'node_modules/x': {}, 'node_modules/@studio/y': { resolved: 'libs/y' } } }),
    ).toEqual([]);
  });
});

describe('subjects', () => {
  const entry = (name: string, subject: string, form: string, owner: string): string =>
    `  ${name}: { subject: '${subject}', form: '${form}', owner: '${owner}', peers: [], payload: '' },\n`;
  const registry =
    entry('jobReady', 'jobs.ready.*', 'hint', 'querier') +
    entry('append', 'registry.ledger.append', 'command', 'registry');
  const answer = '@MessagePattern(SUBJECTS.append.subject)\n';

  it('reports a subject declared twice', () => {
    const again = registry + entry('another', 'jobs.ready.*', 'hint', 'auditor');
    expect(subjectProblems(again, {})).toEqual([expect.stringContaining('another declares "jobs.ready.*" again')]);
    expect(subjectProblems(registry, {})).toEqual([]);
  });

  it.each([
    [
      'a subject spelled out',
      'services/querier/src/a.ts',
      "nc.publish('jobs.ready.lora-training')",
      'use SUBJECTS.jobReady',
    ],
    ['an answer by another service', 'services/auditor/src/a.ts', answer, 'append belongs to the registry'],
    [
      'a hint said by another',
      'services/auditor/src/a.ts',
      'nc.publish(SUBJECTS.jobReady.subject)',
      'belongs to the querier',
    ],
  ])('reports %s', (_what, file, text, problem) => {
    expect(subjectProblems(registry, { [file]: text })).toEqual([expect.stringContaining(problem)]);
  });

  it('reports a command with two answers', () => {
    const sources = { 'services/registry/src/a.ts': answer, 'services/registry/src/b.ts': answer };
    expect(subjectProblems(registry, sources)).toEqual([expect.stringContaining('b.ts: append is already answered')]);
  });

  it('accepts the owner that answers and the peers that ask', () => {
    const sources = {
      'services/registry/src/a.ts': answer,
      'services/auditor/src/a.ts': 'requestJson(nc, SUBJECTS.append.subject, batch); /* `registry.ledger.append` */',
      'services/querier/src/a.ts': 'nc.publish(SUBJECTS.jobReady.subject); nc.publish(jobReadySubject(kind))',
    };
    expect(subjectProblems(registry, sources)).toEqual([]);
  });

  it('reports a registry in which it finds nothing, rather than comparing nothing', () => {
    expect(subjectProblems('export const SUBJECTS = new Map();', {})).toHaveLength(1);
  });
});
