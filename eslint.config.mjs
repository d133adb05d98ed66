import tseslint from 'typescript-eslint';

const ambient = [
  { object: 'process', property: 'env', message: 'the environment enters in src/cli alone' },
  { object: 'process', property: 'cwd', message: 'the working directory enters in src/cli alone' },
  { object: 'Date', property: 'now', message: 'the clock enters in src/cli alone' },
  { object: 'Math', property: 'random', message: 'randomness enters in src/cli alone' },
];

export default tseslint.config(
  { ignores: ['node_modules', 'build', '.build-*', 'dist', 'fixtures', '**/*.mjs', 'native/build'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // `return f();` of a void f ends a case of a switch in one line.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      // Code points are what is wanted where strings are spread.
      '@typescript-eslint/no-misused-spread': 'off',
      // A lock or a lease is held by its scope; nobody has to name it again.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreUsingDeclarations: true }],
      'no-console': 'error',
      'no-restricted-properties': ['error', ...ambient],
    },
  },
  { files: ['src/cli/**', 'bench/**'], rules: { 'no-restricted-properties': 'off', 'no-console': 'off' } },
  {
    files: ['test/**'],
    rules: {
      'no-restricted-properties': 'off',
      // node:test registers synchronously; the promises of test() and describe() are the runner's.
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
);
