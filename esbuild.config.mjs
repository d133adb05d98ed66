// What ships. The programs are cut into parts, of which a start reads those that its command needs, with V8's compiled
// code beside them (src/cli/start.ts); undici is a file of its own, so that what needs no network does not read it. The
// library and the tools are ES modules. koffi stays outside because its native addon is found beside its own package.
import { build, transform } from 'esbuild';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Script } from 'node:vm';

const programs = { cli: 'src/cli/main.ts', runtime: 'src/cli/runtime/main.ts' };
const modules = {
  engine: 'src/engine/library.ts',
  bench: 'bench/main.ts',
  'soak-containers': 'bench/soak-containers.ts',
  'soak-edits': 'bench/soak-edits.ts',
  'soak-store': 'bench/soak-store.ts',
  'fuzz-frontend': 'bench/fuzz-frontend.ts',
  'fuzz-native': 'bench/fuzz-native.ts',
  chaos: 'bench/chaos.ts',
  'bench-registry': 'bench/registry.ts',
  'bench-data': 'bench/data/main.ts',
  'bench-cache': 'bench/cache.ts',
};
for (const [name, file] of Object.entries(modules)) if (!existsSync(file)) delete modules[name];

// Modules behind an `import()` that nearly every call of such a command asks for.
const CONTAINERS = ['native/locate.ts', 'src/engine/machine.ts', 'src/runtime/launch-runtime.ts'];
const NETWORKS = ['native/net-call.ts', 'src/runtime/network/open-networks.ts'];
const SNAPSHOTS = ['snapshotter/open.ts'];
const RUN = ['src/cli/commands/run.ts', ...CONTAINERS, ...NETWORKS, ...SNAPSHOTS];
const STEPS = [
  ...[...CONTAINERS, ...NETWORKS, ...SNAPSHOTS],
  ...['src/engine/step-network.ts', 'src/engine/step-cgroups.ts', 'native/write-back.ts'],
  ...['src/solver/why/explainer.ts', 'src/runtime/default-spec.ts', 'src/solver/why/describe.ts'],
];
const REGISTRY = ['src/cli/registry-settings.ts', 'src/registry/client.ts'];
/** Commands that run often, each with what it needs in one file. */
const PACKS = {
  cli: {
    build: ['src/cli/commands/build.ts', 'src/engine/outputs.ts'],
    // What is needed besides as soon as a step is executed.
    'build+': STEPS,
    exec: ['src/cli/commands/containers/exec.ts', ...CONTAINERS],
    images: ['src/cli/commands/images.ts'],
    logs: ['src/cli/commands/containers/logs.ts'],
    ps: ['src/cli/commands/container-views.ts'],
    pull: ['src/cli/commands/transfer.ts', ...REGISTRY],
    push: ['src/cli/commands/transfer.ts', 'src/engine/push.ts', ...REGISTRY],
    rm: ['src/cli/commands/containers/stop.ts', ...NETWORKS],
    run: RUN,
    start: ['src/cli/commands/containers/start.ts', ...CONTAINERS, ...NETWORKS, ...SNAPSHOTS],
    other: [],
  },
  runtime: { other: [] },
};

const common = {
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20',
  logLevel: 'warning',
};

// The filter of most containers, made here and not at each start (src/runtime/seccomp/default-filter.ts).
const made = await build({
  ...common,
  entryPoints: ['src/runtime/seccomp/default-filter.ts'],
  format: 'esm',
  write: false,
});
const { usualFilters } = await import(
  `data:text/javascript;base64,${Buffer.from(made.outputFiles[0].contents).toString('base64')}`
);
common.define = { USUAL_FILTERS: JSON.stringify(JSON.stringify(usualFilters())) };

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist/program/packs', { recursive: true });
// why: Node starts CommonJS 4 ms sooner; what is a module here says so by its name.
writeFileSync('dist/package.json', '{ "type": "commonjs" }\n');
await build({
  ...common,
  sourcemap: true,
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
    onResolve({ filter: /^undici$/ }, () => ({ path: '../undici.cjs', external: true }));
  },
};
const minified = { minifySyntax: true, minifyWhitespace: true };
await build({
  ...common,
  ...minified,
  entryPoints: { undici: 'undici' },
  format: 'cjs',
  outExtension: { '.js': '.cjs' },
});

const { outputFiles, metafile } = await build({
  ...common,
  ...minified,
  entryPoints: programs,
  outdir: 'dist/program',
  format: 'esm',
  outExtension: { '.js': '.cjs' },
  splitting: true,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  metafile: true,
  write: false,
  external: ['koffi'],
  plugins: [undici],
  define: { ...common.define, 'import.meta.url': '__moduleUrl' },
});

const OF_PARTS = /^import(\{[^}]*\}from)?("\.\/[^"]+");/;

/**
 * An ES module that esbuild wrote, as a function of `require`, `{ exports }` and its URL. Between parts names are constants of
 * each: parts import each other in one direction alone, and no module changes what it exports. Of Node's modules they
 * are read when they are used (src/cli/lazy-builtins.ts).
 */
async function asFunction(text) {
  const renamed = (names) => names.slice(1, -1).replaceAll(' as ', ':');
  let head = '';
  let body = text;
  const others = [];
  for (
    let found;
    (found = /^\s*import[^;]*?"[^"]+";/.exec(body)) !== null;
    body = body.slice(found[0].length)
  ) {
    const [, names, part] = OF_PARTS.exec(found[0].trim()) ?? [];
    if (part === undefined) others.push(found[0].trim());
    else
      head +=
        names === undefined ? `require(${part});` : `const{${renamed(names.slice(0, -4))}}=require(${part});`;
  }
  let tail = '';
  body = body.replace(/export(\{[^}]*\});?\s*(\/\*!.*\*\/\s*)?$/s, (_, names, license = '') => {
    const each = names
      .slice(1, -1)
      .split(',')
      .map((name) => name.split(' as '));
    tail = `__part.exports={${each.map(([own, as = own]) => (as === own ? own : `${as}:${own}`)).join(',')}};`;
    return license;
  });
  body = body.replaceAll(/\bimport\(("\.\/[^"]+\.cjs")\)/g, 'Promise.resolve().then(()=>require($1))');
  const { code } = await transform(`${others.join('')}${body}${tail}`, {
    ...minified,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
  });
  if (code.includes('stdin_exports')) throw new Error('a part whose exports were not found');
  return `function(require,__part,__moduleUrl){${head}${code}}`;
}

/** Text by file name. */
const parts = new Map();
for (const { path, text } of outputFiles) parts.set(basename(path), await asFunction(text));
for (const [name, text] of parts) {
  // Throws where it is not the function that it should be.
  new Script(`(${text})`, { filename: name });
  writeFileSync(`dist/program/${name}`, `(${text})`);
}

const outputs = Object.entries(metafile.outputs);
const partOf = (source) => {
  const found = outputs.find(([, { entryPoint }]) => entryPoint === source);
  if (found === undefined) throw new Error(`${source} is not behind an import()`);
  return basename(found[0]);
};

/** With what they import, but for what is behind an `import()`. */
function closureOf(sources) {
  const found = new Set(sources.map(partOf));
  for (const name of found)
    for (const { kind, path, external } of metafile.outputs[`dist/program/${name}`].imports)
      if (kind === 'import-statement' && external !== true) found.add(basename(path));
  return [...found];
}

// why: Node reads a list of authorities that NODE_EXTRA_CA_CERTS names before anything else, which takes longer than all
// the rest; the program reads it where it needs it (src/cli/start.ts gives the variable back). env and no shell, since
// shells drop variables whose names are none of theirs.
const LAUNCH =
  '#!/usr/bin/env -S -u NODE_EXTRA_CA_CERTS TSBUILD_START_CA_CERTS=${NODE_EXTRA_CA_CERTS} node --';

for (const [program, entry] of Object.entries(programs)) {
  const packs = {};
  for (const [command, sources] of Object.entries(PACKS[program])) {
    const before = command.endsWith('+') ? closureOf([entry, ...PACKS[program][command.slice(0, -1)]]) : [];
    const members = closureOf([entry, ...sources])
      .filter((name) => !before.includes(name))
      .map((name) => `${JSON.stringify(name)}:${parts.get(name)}`);
    const text = `({${members.join(',\n')}})`;
    packs[command] =
      `${program}-${command}-${createHash('sha256').update(text).digest('hex').slice(0, 16)}.cjs`;
    writeFileSync(`dist/program/packs/${packs[command]}`, text);
  }
  await build({
    ...common,
    entryPoints: { [program]: 'src/cli/start.ts' },
    format: 'cjs',
    minifySyntax: true,
    define: { ...common.define, PROGRAM: JSON.stringify(partOf(entry)), PACKS: JSON.stringify(packs) },
    banner: { js: LAUNCH },
  });
  chmodSync(`dist/${program}.js`, 0o755);
}
