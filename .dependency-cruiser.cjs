/**
 * Who may import whom. The layers are: domain <- contract, protocol <- database, platform <- services; clients see only
 * what crosses the wire. Every rule is broken once on purpose in tools/checks/rules.spec.ts.
 * `from` and `to` are regular expressions over paths from the repository root.
 */
const SHARED = '^libs/shared/src';
const TEST = '\\.(spec|e2e|rig)\\.ts$';
const npm = (...names) => `(^|/)node_modules/(${names.join('|')})(/|$)`;

/** Nest appears where a process is assembled, entered or left; the rest is plain code that tests call directly. */
const NEST_EDGE = '(^|/)main\\.ts$|\\.(module|controller|consumer|filter)\\.ts$';

const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

const layers = [
  rule(
    'domain-imports-nothing',
    'The domain is recomputed by others, years later: it depends on nothing that can change under it.',
    { path: `${SHARED}/domain/`, pathNot: TEST },
    { pathNot: `${SHARED}/domain/` },
  ),
  rule(
    'protocol-imports-domain-and-crypto',
    "Both ends of a wire compute it, so it may not drag a service's world into a client.",
    { path: `${SHARED}/protocol/`, pathNot: TEST },
    { pathNot: [`${SHARED}/(domain|protocol)/`, npm('@noble', '@scure', 'canonicalize'), '^(node:)?crypto$'] },
  ),
  rule(
    'contract-imports-domain-and-validation',
    'A message is its fields and their validation.',
    { path: `${SHARED}/contract/`, pathNot: TEST },
    {
      pathNot: [
        `${SHARED}/(domain|contract)/`,
        npm('class-validator', 'class-transformer', 'reflect-metadata', '@nestjs/swagger'),
      ],
    },
  ),
  rule(
    'shared-knows-no-other-project',
    'Everybody depends on libs/shared: it can depend on nobody.',
    { path: '^libs/' },
    { path: '^(services|clients|engines|apps|tools|bench|simulations|e2e)/' },
  ),
  rule(
    'engine-is-pure',
    'Only then do its results have the same bits everywhere: no files, no network, SHA-256 of the prompt at most.',
    { path: '^engines/([^/]+)/', pathNot: TEST },
    { pathNot: ['^engines/$1/', `${SHARED}/(domain|protocol)/`, '^(node:)?crypto$'] },
  ),
  rule(
    'services-never-import-each-other',
    'They are separate images, scaled and deployed apart: they speak over HTTP and NATS.',
    { path: '^services/([^/]+)/' },
    { path: '^services/', pathNot: '^services/$1/' },
  ),
  rule(
    'services-never-import-programs',
    'A service does not contain its clients or the tools that start it.',
    { path: '^services/' },
    { path: '^(clients|apps|tools|bench|simulations|e2e)/' },
  ),
  rule(
    'only-the-auditor-reads-adapters',
    'The copied-adapter rule needs the engine; routing and scoring must not know what an engine does.',
    { path: '^services/(?!auditor/)' },
    { path: '^engines/' },
  ),
  rule(
    'clients-see-only-the-wire',
    'What miners and validators run must work from published rules alone.',
    { path: '^clients/', pathNot: TEST },
    { path: '^libs/', pathNot: `${SHARED}/(contract|protocol|domain)/` },
  ),
  rule(
    'clients-never-import-other-programs',
    'A client is handed out alone.',
    { path: '^clients/([^/]+)/' },
    { path: '^(clients|services|apps|tools|bench|simulations|e2e)/', pathNot: '^clients/$1/' },
  ),
  rule(
    'testing-unreachable-from-production',
    'Code for tests creates databases and skips checks.',
    {
      path: '^(libs|engines|services|clients|apps|tools)/',
      pathNot: [TEST, `${SHARED}/testing/`, '(^|/)jest-(setup|teardown)\\.ts$'],
    },
    { path: `${SHARED}/testing/` },
  ),
];

const packages = [
  rule(
    'nest-only-at-the-edge',
    'Nest in main, module, controller, consumer and filter files only: logic stays callable without a container.',
    { pathNot: [NEST_EDGE, TEST, `${SHARED}/contract/`] },
    { path: npm('@nestjs') },
  ),
  rule(
    'typeorm-only-in-stores',
    'One place per table knows SQL; everything else speaks domain types.',
    { pathNot: [`${SHARED}/database/`, '\\.store\\.ts$', TEST, `${SHARED}/testing/`] },
    { path: npm('typeorm') },
  ),
  rule(
    'one-door-to-the-outside',
    'Requests to addresses that strangers choose go through platform/egress, which filters addresses and bounds replies.',
    {
      path: '^(libs|services|engines)/',
      pathNot: [`${SHARED}/platform/egress[^/]*\\.ts$`, `${SHARED}/testing/`, TEST],
    },
    { path: [npm('undici'), '^(node:)?(https?|http2|net|tls)$'], dependencyTypesNot: ['type-only'] },
  ),
  rule(
    'no-development-packages-in-production',
    'Images are installed without development packages.',
    { path: '^(libs|engines|services|clients)/', pathNot: [TEST, `${SHARED}/testing/`] },
    { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
  ),
  rule(
    'no-undeclared-packages',
    'A package that another package happens to install can disappear with its next version.',
    { pathNot: '(^|/)node_modules/' },
    { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
  ),
];

const shape = [
  rule('no-cycles', 'Files in a cycle can only be read, tested and changed together.', {}, { circular: true }),
  rule('no-unresolvable', 'The import names a file or package that does not exist.', {}, { couldNotResolve: true }),
  rule(
    'no-orphans',
    'Nothing imports it and it imports nothing: dead code. Entry points, declarations and migrations are found by path.',
    { orphan: true, pathNot: ['(^|/)main\\.ts$', TEST, '\\.d\\.ts$', '/migrations/', '\\.[cm]js$', '^bench/'] },
    {},
  ),
];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [...layers, ...packages, ...shape],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Built files and committed data; the installed packages have folders of these names too, and must be seen.
    exclude: { path: '^(?!.*node_modules/).*(^|/)(dist|fixtures)/' },
    // Types are dependencies too: a domain file that names a database type knows the database.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    // All package.json up to the root: the workspaces declare their packages there.
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      // The sources, as tsc and Jest see them, not the built files.
      conditionNames: ['studio-src', 'import', 'require', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types', 'typings'],
    },
  },
};
