// What ships. The programs are one CommonJS file each, whose modules start when they are first asked for, with V8's
// compiled code beside it (src/cli/start.ts); undici is a file of its own, so that what needs no network does not read it. The library and
// the tools are ES modules. koffi stays outside because its native addon is found beside its own package.
import { build } from 'esbuild';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

const programs = { cli: 'src/cli/main.ts', runtime: 'src/cli/runtime/main.ts' };
const modules = {
  engine: 'src/engine/library.ts',
  bench: 'bench/main.ts',
  'soak-containers': 'bench/soak-containers.ts',
  'fuzz-frontend': 'bench/fuzz-frontend.ts',
  'fuzz-native': 'bench/fuzz-native.ts',
  chaos: 'bench/chaos.ts',
  'bench-registry': 'bench/registry.ts',
};
for (const [name, file] of Object.entries(modules)) if (!existsSync(file)) delete modules[name];

const common = {
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning',
};

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
// why: Node starts CommonJS 4 ms sooner; what is a module here says so by its name.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');
await build({
  ...common,
  outExtension: { '.js': '.mjs' },
  entryPoints: modules,
  splitting: true,
  format: 'esm',
  external: ['koffi'],
  chunkNames: 'chunks/[name]-[hash]',
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
});

const undici = {
  name: 'undici in a file of its own',
  setup({ onResolve }) {
    onResolve({ filter: /^undici$/ }, () => ({ path: './undici.cjs', external: true }));
  },
};
const commonjs = {
  ...common,
  outdir: 'dist/program',
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
  minifySyntax: true,
  minifyWhitespace: true,
};
await build({ ...commonjs, entryPoints: { undici: 'undici' } });

for (const [name, entry] of Object.entries(programs)) {
  const { metafile } = await build({
    ...commonjs,
    entryPoints: { [name]: entry },
    entryNames: '[name]-[hash]',
    metafile: true,
    external: ['koffi'],
    plugins: [undici],
    define: { 'import.meta.url': '__moduleUrl' },
    banner: { js: '(function (require, module, exports, __moduleUrl) {' },
    footer: { js: '})' },
  });
  const file = Object.keys(metafile.outputs).find((path) => path.endsWith('.cjs'));
  await build({
    ...common,
    entryPoints: { [name]: 'src/cli/start.ts' },
    format: 'cjs',
    minifySyntax: true,
    define: { PROGRAM: JSON.stringify(basename(file)) },
    banner: { js: '#!/usr/bin/env -S node --' },
  });
  chmodSync(`dist/${name}.js`, 0o755);
}
