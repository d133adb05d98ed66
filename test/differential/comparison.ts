/**
 * What differs between two images, leaving out what has to: times, what runtimes put into a root file system
 * while a command runs, the owner and mode of directories that one side left implicit, buildah's own label.
 */
import type { Image, TreeEntry } from './image-tree.ts';

const LEFT_BY_RUNTIMES =
  /^\/(?:dev|proc|sys|run)(?:\/|$)|^\/etc\/(?:hosts|resolv\.conf|hostname|mtab)$|^\/\.dockerenv$/;

export const isLeftByRuntime = (path: string): boolean => LEFT_BY_RUNTIMES.test(path);

const CONFIG_FIELDS = [
  'Env',
  'Cmd',
  'Entrypoint',
  'User',
  'WorkingDir',
  'ExposedPorts',
  'Volumes',
  'Labels',
  'StopSignal',
  'Healthcheck',
  'OnBuild',
  'Shell',
] as const;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A field of a config with absent, empty and default values made one; undefined where it says nothing. */
export function configField(config: Image['config'], field: string): unknown {
  const value = config[field];
  if (field === 'WorkingDir') return value === undefined || value === '' ? '/' : value;
  if (value === '' || value === null) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : value;
  if (!isObject(value)) return value;
  const members = Object.entries(value)
    .filter(([name]) => name !== 'io.buildah.version')
    .filter(([, member]) => field !== 'Healthcheck' || member !== 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return members.length === 0 ? undefined : Object.fromEntries(members);
}

/** The names of each file that has several. */
function hardLinks(tree: Image['tree']): ReadonlyMap<string, string> {
  const names = new Map<object, string[]>();
  for (const [path, { inode, isImplied }] of tree)
    if (!isImplied) names.set(inode, [...(names.get(inode) ?? []), path]);
  const groups = [...names.values()].filter((group) => group.length > 1);
  return new Map(groups.flatMap((group) => group.map((path) => [path, group.sort().join(' ')] as const)));
}

function show(entry: TreeEntry): string {
  const content = entry.type === 'file' ? ` ${JSON.stringify(entry.content.toString().slice(0, 200))}` : '';
  return `${entry.type} ${entry.mode.toString(8).padStart(4, '0')} ${entry.owner}${content} ${entry.target}`;
}

function differencesOfEntries(ours: TreeEntry, theirs: TreeEntry): readonly string[] {
  if (ours.type !== theirs.type) return ['type'];
  const fields = [ours.target === theirs.target ? '' : 'target'];
  if (!ours.content.equals(theirs.content)) fields.push('content');
  if (JSON.stringify(ours.xattrs) !== JSON.stringify(theirs.xattrs)) fields.push('xattrs');
  if (!ours.isImplied && !theirs.isImplied) {
    if (ours.owner !== theirs.owner) fields.push('owner');
    if (ours.mode !== theirs.mode && ours.type !== 'symlink') fields.push('mode');
  }
  return fields.filter((field) => field !== '');
}

/** buildah makes `/etc` for the hosts file of a RUN and leaves it. */
function isMadeForHosts(tree: Image['tree'], path: string): boolean {
  return (
    path === '/etc' && [...tree.keys()].every((other) => !other.startsWith('/etc/') || isLeftByRuntime(other))
  );
}

/** One line per difference; `known` are paths and config fields that are not compared. */
export function compareImages(
  ours: Image,
  theirs: Image,
  known: { readonly paths: ReadonlySet<string>; readonly fields: ReadonlySet<string> },
): readonly string[] {
  const found: string[] = [];
  const [ourLinks, theirLinks] = [hardLinks(ours.tree), hardLinks(theirs.tree)];
  for (const path of [...new Set([...ours.tree.keys(), ...theirs.tree.keys()])].sort()) {
    if (isLeftByRuntime(path) || known.paths.has(path)) continue;
    const [a, b] = [ours.tree.get(path), theirs.tree.get(path)];
    if (a === undefined && isMadeForHosts(theirs.tree, path)) continue;
    if (a === undefined || b === undefined) {
      found.push(`${path}: tsbuild ${a ? show(a) : 'has none'} | buildah ${b ? show(b) : 'has none'}`);
      continue;
    }
    const fields = differencesOfEntries(a, b);
    if (fields.length > 0)
      found.push(`${path} (${fields.join(', ')}): tsbuild ${show(a)} | buildah ${show(b)}`);
    if (ourLinks.get(path) !== theirLinks.get(path))
      found.push(
        `${path} (hard links): tsbuild ${ourLinks.get(path) ?? 'none'} | buildah ${theirLinks.get(path) ?? 'none'}`,
      );
  }
  for (const field of CONFIG_FIELDS) {
    if (known.fields.has(field)) continue;
    const [a, b] = [configField(ours.config, field), configField(theirs.config, field)].map((value) =>
      JSON.stringify(value),
    );
    if (a !== b) found.push(`config ${field}: tsbuild ${a ?? 'none'} | buildah ${b ?? 'none'}`);
  }
  return found;
}
