/** The import table, the absence of cycles and barrels, and what may not be read outside the command line. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { VARIABLES } from '../src/cli/unchanged-build.ts';

function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at))
    if (existsSync(join(at, 'package.json'))) return at;
}

const root = packageRoot();
const BASE = ['src/base'];
const CONTRACTS = ['src/runtime/runtime.ts', 'snapshotter/snapshotter.ts', 'native/mount.ts'];

/** Folder → folders or single files that it may import (itself always). */
const TABLE: Readonly<Record<string, readonly string[] | 'all'>> = {
  'src/base': [],
  'src/oci': BASE,
  'src/progress': BASE,
  native: BASE,
  'src/content': [...BASE, 'src/oci'],
  'src/graph': [...BASE, 'src/oci'],
  'src/layer': [...BASE, 'src/oci', 'native'],
  snapshotter: [...BASE, 'native', 'src/layer'],
  frontend: [...BASE, 'src/oci', 'src/graph'],
  'src/registry': [...BASE, 'src/oci', 'src/content'],
  'src/runtime': [...BASE, 'native', 'snapshotter/snapshotter.ts'],
  'src/solver': [...BASE, 'src/oci', 'src/progress', 'src/content', 'src/layer', 'src/graph', ...CONTRACTS],
  'src/image': [...BASE, 'src/oci', 'src/progress', 'src/content', 'src/layer', 'src/registry'],
  'src/exporter': [
    ...BASE,
    'src/oci',
    'src/progress',
    'src/content',
    'src/layer',
    'src/registry',
    'src/image',
  ],
  'src/engine': 'all',
  'src/cli': 'all',
};

function sourcesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`);
}

const files = ['src', 'frontend', 'snapshotter', 'native'].flatMap(sourcesBelow);
const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));

function importsOf(file: string, { dynamic }: { readonly dynamic: boolean }): string[] {
  const text = texts.get(file) ?? '';
  const specifiers = [...text.matchAll(/^(?:import|export)\b[^;]*?from\s+'([^']+)'/gms)].map(
    ([, specifier]) => specifier ?? '',
  );
  if (dynamic)
    specifiers.push(...[...text.matchAll(/\bimport\('([^']+)'\)/g)].map(([, specifier]) => specifier ?? ''));
  return specifiers
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => normalize(join(dirname(file), specifier)));
}

function folderOf(file: string): string {
  const found = Object.keys(TABLE).find((folder) => file.startsWith(`${folder}/`));
  assert.ok(found !== undefined, `${file} belongs to no folder of the table`);
  return found;
}

test('every import follows the table', () => {
  const wrong = files.flatMap((file) => {
    const folder = folderOf(file);
    const allowed = TABLE[folder] ?? [];
    if (allowed === 'all') return [];
    return importsOf(file, { dynamic: true })
      .filter(
        (target) =>
          folderOf(target) !== folder &&
          !allowed.some((each) => target === each || target.startsWith(`${each}/`)),
      )
      .map((target) => `${file} imports ${target}`);
  });
  assert.deepEqual(wrong, []);
});

test('the engine does not import the command line', () => {
  const wrong = files
    .filter((file) => !file.startsWith('src/cli/'))
    .flatMap((file) => importsOf(file, { dynamic: true }).filter((target) => target.startsWith('src/cli/')));
  assert.deepEqual(wrong, []);
});

test('no file imports itself by any way, type-only imports included', () => {
  const state = new Map<string, 'open' | 'done'>();
  const path: string[] = [];
  const visit = (file: string): void => {
    if (state.get(file) === 'done') return;
    assert.notEqual(
      state.get(file),
      'open',
      `cycle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`,
    );
    state.set(file, 'open');
    path.push(file);
    for (const target of importsOf(file, { dynamic: false })) visit(target);
    path.pop();
    state.set(file, 'done');
  };
  files.forEach(visit);
});

test('there are no barrels', () => {
  const reexports = files.filter((file) => /^export \*/m.test(texts.get(file) ?? ''));
  assert.deepEqual(reexports, []);
});

test('environment, working directory, clock and randomness are read in src/cli alone', () => {
  const ambient =
    /\bprocess\.(env|cwd)\b|\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\brandom(Bytes|UUID|Int)\b|\bperformance\.now\(/;
  const wrong = files.filter((file) => !file.startsWith('src/cli/') && ambient.test(texts.get(file) ?? ''));
  assert.deepEqual(wrong, []);
});

test('every variable that is read is known to builds that nothing has changed for, or is not of theirs', () => {
  // Registries, repositories, agents and secrets; other commands; the program's own start.
  const others = [
    ...['CONTAINERS_REGISTRIES_CONF', 'DOCKER_CONFIG', 'HOME', 'NODE_EXTRA_CA_CERTS', 'REGISTRY_AUTH_FILE'],
    ...['SSH_AUTH_SOCK', 'SSL_CERT_DIR', 'SSL_CERT_FILE', 'XDG_CONFIG_HOME', 'XDG_RUNTIME_DIR'],
    ...['TSBUILD_REGISTRY_CONFIG', 'TSBUILD_REGISTRY_TIMEOUT', 'PATH', 'LISTEN_FDS', 'NOTIFY_SOCKET'],
    ...['TSBUILD_RUNTIME_DESCRIPTORS', 'TSBUILD_RUNTIME_NAME'],
  ];
  const read = new Set(
    [...texts.values()].flatMap((text) =>
      [...text.matchAll(/\benv(?:ironment)?(?:\.|\[')([A-Z][A-Z_]+)\b|\bVARIABLE = '([A-Z_]+)'/g)].map(
        ([, read, named = '']) => read ?? named,
      ),
    ),
  );
  const unknown = [...read].filter((name) => !others.includes(name) && !isNoted(name));
  assert.deepEqual(unknown, []);
  assert.ok(read.has('SOURCE_DATE_EPOCH'));
});

function isNoted(name: string): boolean {
  return (VARIABLES as readonly string[]).includes(name);
}

test('nothing prints outside src/cli', () => {
  const prints = /\bconsole\.|process\.(stdout|stderr)\b/;
  const wrong = files.filter((file) => !file.startsWith('src/cli/') && prints.test(texts.get(file) ?? ''));
  assert.deepEqual(wrong, []);
});

test('names say what a file answers for', () => {
  const vague = files.filter((file) => /(^|[/-])(utils?|helpers?|manager|common|misc)([-./]|$)/.test(file));
  assert.deepEqual(vague, []);
});

test('files begin with what they answer for and fit on a few screens', () => {
  const undocumented = files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(texts.get(file) ?? ''));
  assert.deepEqual(undocumented, []);
  const long = files.filter((file) => (texts.get(file) ?? '').split('\n').length > 460);
  assert.deepEqual(long, []);
});

test('folders that stand for a subject have a page', () => {
  for (const folder of ['src', 'frontend', 'snapshotter', 'native'])
    assert.ok(statSync(join(root, folder, 'README.md')).isFile(), `${folder}/README.md`);
});

test('an import that breaks the table would be found', () => {
  texts.set('src/base/probe.ts', "/** */\nimport { x } from '../oci/parse.ts';\n");
  const found = importsOf('src/base/probe.ts', { dynamic: true }).filter(
    (target) => folderOf(target) !== 'src/base',
  );
  texts.delete('src/base/probe.ts');
  assert.deepEqual(found, [relative('.', 'src/oci/parse.ts')]);
});
