// What ships: one entry per door (cli, library), lazy chunks behind dynamic imports, koffi left outside
// because its native addon is found beside its own package.
import { build } from 'esbuild';
import { chmodSync, existsSync, rmSync } from 'node:fs';

const entryPoints = {
  cli: 'src/cli/main.ts',
  runtime: 'src/cli/runtime/main.ts',
  engine: 'src/engine/library.ts',
  bench: 'bench/main.ts',
  'soak-containers': 'bench/soak-containers.ts',
  'fuzz-frontend': 'bench/fuzz-frontend.ts',
  'fuzz-native': 'bench/fuzz-native.ts',
  chaos: 'bench/chaos.ts',
  'bench-registry': 'bench/registry.ts',
};
for (const [name, file] of Object.entries(entryPoints)) if (!existsSync(file)) delete entryPoints[name];

rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints,
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['koffi'],
  sourcemap: true,
  chunkNames: 'chunks/[name]-[hash]',
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});

for (const program of ['cli', 'runtime']) chmodSync(`dist/${program}.js`, 0o755);
