/** `.spec` is pure, `.db.spec` uses real Postgres, NATS and Redis, `.e2e` runs the whole system. */
const shared = {
  testEnvironment: 'node',
  // Sources are read directly through the `studio-src` export condition: no build before a test.
  testEnvironmentOptions: { customExportConditions: ['studio-src', 'node', 'require', 'default'] },
  moduleNameMapper: { '^fast-check$': '<rootDir>/tools/seeded-fast-check.cjs' },
  modulePathIgnorePatterns: ['/dist/', '/\\.cache/', '/\\.data/', '/\\.nx/'],
  transform: {
    '^.+\\.(t|j|mj)s$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'commonjs' },
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
          keepClassNames: true,
        },
      },
    ],
  },
  // In the context that a test runs in, every mention of a global is looked up anew, outside the engine's caches: training an
  // adapter spent six sevenths of its time on `Math`. Handed in, it is a local name.
  sandboxInjectedGlobals: ['Math'],
  // The only ESM-only packages the sources import.
  transformIgnorePatterns: ['/node_modules/(?!(@scure|@noble)/)'],
};

const servers = {
  globalSetup: '<rootDir>/tools/launcher/src/servers/jest-setup.ts',
  globalTeardown: '<rootDir>/tools/launcher/src/servers/jest-teardown.ts',
};

module.exports = {
  // Three for two cores: many tests wait for a clock (an epoch's end, a lease, a time-out). Four at a time make servers late.
  maxWorkers: 3,
  // A guard against hangs, not a measure: one fsync on a busy disk took longer than Jest's five seconds.
  testTimeout: 60_000,
  projects: [
    { ...shared, displayName: 'spec', testMatch: ['**/*.spec.ts'], testPathIgnorePatterns: ['\\.db\\.spec\\.ts$'] },
    {
      ...shared,
      displayName: 'db',
      testMatch: ['**/*.db.spec.ts', '**/*.e2e.ts'],
      ...servers,
    },
  ],
};
