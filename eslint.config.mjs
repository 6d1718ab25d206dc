/**
 * Lint is where a rule about the *text* of a file lives; rules about who may import whom live in
 * .dependency-cruiser.cjs. Every rule below is broken once on purpose in tools/checks/rules.spec.ts.
 */
import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

/** A `.rig.ts` is what several specs beside it set up. */
const TESTS = ['**/*.spec.ts', '**/*.e2e.ts', '**/*.rig.ts'];
const TEST_SUPPORT = ['libs/shared/src/testing/**', 'e2e/**', '**/jest-setup.ts', '**/jest-teardown.ts'];

/** The rules of libraries that tests and their support code need not keep: they handle unknown data on purpose. */
const UNTYPED_DATA = Object.fromEntries(
  ['argument', 'assignment', 'call', 'member-access', 'return'].map((use) => [
    `@typescript-eslint/no-unsafe-${use}`,
    'off',
  ]),
);

/** A barrel hides which file a name comes from, and loads a whole folder for one name. */
const BARRELS = [
  { selector: 'ExportAllDeclaration', message: 'No barrels: import the name from the file that defines it.' },
];

/**
 * IEEE 754 fixes the result of + - * / and sqrt to the bit; it leaves the others to the library, and they differ between
 * x64 and arm64. Audits compare hashes and weights must equal a recomputation years later, so this is a list of what is
 * allowed rather than of what is not: Math will grow.
 */
const EXACT_MATH = /^(abs|ceil|clz32|floor|fround|imul|max|min|round|sign|sqrt|trunc)$/;
const INEXACT_MATH = [
  {
    selector: `MemberExpression[object.name='Math']:matches([computed=true], :not([property.name=${EXACT_MATH}]))`,
    message: 'Only Math functions that give the same bits on every machine: + - * /, sqrt, floor, imul and the like.',
  },
  {
    selector: ":not(MemberExpression) > Identifier[name='Math']",
    message: 'Write Math.name in full, so that the allowed functions can be checked.',
  },
  {
    selector: ":matches(BinaryExpression[operator='**'], AssignmentExpression[operator='**='])",
    message: '** is Math.pow, which differs between machines: multiply, or shift a BigInt.',
  },
];

const FOCUSED_TESTS = [
  {
    selector: "MemberExpression[object.name=/^(describe|it|test)$/][property.name='only']",
    message: 'A focused test silences all others.',
  },
];

const banned = (names, message) => names.map((name) => ({ name, message }));
const CLOCK_AND_CHANCE = banned(
  ['Date', 'performance', 'process', 'crypto', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'],
  'Pure code has no clock, chance or process: take the value as a parameter.',
);
const AMBIENT = banned(
  ['globalThis', 'global', 'require', 'fetch', 'Buffer', 'console'],
  'Pure code sees only its parameters.',
);
const FETCH = banned(['fetch'], 'One door to the outside: platform/egress holds the address filter and the limits.');

const NO_PROCESS_ENV = {
  'no-restricted-properties': [
    'error',
    {
      object: 'process',
      property: 'env',
      message: 'Read the environment in env.ts, where it is validated once at boot.',
    },
  ],
  'no-restricted-imports': [
    'error',
    {
      paths: ['node:process', 'process'].map((name) => ({
        name,
        importNames: ['env'],
        message: 'Read the environment in env.ts.',
      })),
    },
  ],
};

const restrictSyntax = (...lists) => ({ 'no-restricted-syntax': ['error', ...lists.flat()] });

/** Who may depend on whom, by the tags in each package.json. Finer rules (files, packages) are in .dependency-cruiser.cjs. */
const LAYERS = [
  { sourceTag: 'layer:shared', onlyDependOnLibsWithTags: ['layer:shared'] },
  { sourceTag: 'layer:engine', onlyDependOnLibsWithTags: ['layer:shared'] },
  { sourceTag: 'layer:service', onlyDependOnLibsWithTags: ['layer:shared', 'layer:engine'] },
  { sourceTag: 'layer:client', onlyDependOnLibsWithTags: ['layer:shared', 'layer:engine'] },
  { sourceTag: 'layer:tool', onlyDependOnLibsWithTags: ['*'] },
];

/** A cycle across layers follows from one wrong import: report that one by its layer, not all that close the circle. */
const CYCLES_ACROSS_LAYERS = LAYERS.flatMap(({ sourceTag: one }, at) =>
  LAYERS.slice(at + 1).map(({ sourceTag: other }) => [`tag:${one}`, `tag:${other}`]),
);

export default tseslint.config(
  { ignores: ['**/node_modules/', '**/dist/', '.nx/', '.cache/', '.data/', 'out/', 'coverage/', '**/fixtures/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },

  // ---- every file
  {
    files: ['**/*.{ts,mjs,cjs}'],
    extends: [tseslint.configs.base],
    plugins: { '@nx': nx },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-eval': 'error',
      'no-constant-condition': ['error', { checkLoops: false }],
      'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'] }],
      // A long file is read by scrolling, so its comments count; a long function is not made worse by explaining it.
      'max-lines': ['error', { max: 400 }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true, IIFEs: true }],
      ...restrictSyntax(BARRELS),
    },
  },

  // ---- TypeScript, with types: one program for the tree (tsconfig.json), made once per run
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: ['./tsconfig.json'], tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { depConstraints: LAYERS, ignoredCircularDependencies: CYCLES_ACROSS_LAYERS },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': ['error', { checkThenables: true }],
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/ban-ts-comment': ['error', { minimumDescriptionLength: 10 }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', ignoreRestSiblings: true }],
      // An interface of promises is kept by stores that answer at once as well.
      '@typescript-eslint/require-await': 'off',
      ...NO_PROCESS_ENV,
    },
  },

  // ---- running code: no console (logs are structured and redacted), one door to the outside
  {
    files: ['services/**/*.ts', 'libs/**/*.ts', 'engines/**/*.ts'],
    ignores: TESTS,
    rules: { 'no-console': 'error', 'no-restricted-globals': ['error', ...FETCH] },
  },

  // ---- pure code: the domain and the engines. Their specs may use oracles (Math.exp) and generators.
  {
    files: ['libs/shared/src/domain/**/*.ts', 'engines/**/*.ts'],
    ignores: TESTS,
    rules: {
      ...restrictSyntax(BARRELS, INEXACT_MATH),
      'no-restricted-globals': ['error', ...CLOCK_AND_CHANCE, ...AMBIENT],
    },
  },

  // ---- tests
  {
    files: [...TESTS, ...TEST_SUPPORT],
    rules: { ...UNTYPED_DATA, '@typescript-eslint/unbound-method': 'off' },
  },
  {
    files: TESTS,
    rules: {
      'max-lines': ['error', { max: 600 }],
      // A `describe` block is one function.
      'max-lines-per-function': 'off',
      ...restrictSyntax(BARRELS, FOCUSED_TESTS),
    },
  },

  // ---- migrations: written once and never edited, so a split would only scatter what happened together
  { files: ['**/migrations/*.ts'], rules: { 'max-lines': 'off', 'max-lines-per-function': 'off' } },

  // ---- where the environment is read: the env files, and what runs before or around them
  {
    files: ['**/env.ts', ...TEST_SUPPORT],
    rules: { 'no-restricted-properties': 'off', 'no-restricted-imports': 'off' },
  },
);
