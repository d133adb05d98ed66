/**
 * A small project under random edits: a build context on disk, an ignore file, a Dockerfile of two stages whose
 * instructions, arguments and mounts change. What a step could see of the context, some step writes down.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Random } from './random.ts';

/** Everything that is not a file of the context. */
export interface Recipe {
  readonly version: string;
  readonly mode: string;
  readonly label: string;
  readonly workdir: string;
  readonly user: string;
  readonly shell: string;
  readonly sources: string;
  readonly flags: string;
  readonly destination: string;
  readonly toolsMount: string;
  readonly contextMount: string;
  readonly run: string;
  readonly heredoc: string;
  readonly ignore: string;
  /** --build-arg. */
  readonly argument: string;
  readonly epoch: string;
}

type Choices = { readonly [K in keyof Recipe]: readonly string[] };

/** The first of each is where it begins. */
const CHOICES: Choices = {
  version: ['1', '2', '1.0', ''],
  mode: ['debug', 'release', 'de bug'],
  label: ['a', 'b', 'c'],
  workdir: ['/app', '/app/sub', '/srv', '/app/../app2'],
  user: ['root', '1000:2000', '0:7'],
  shell: ['["/bin/sh", "-c"]', '["/bin/sh", "-ec"]', '["/bin/busybox", "sh", "-c"]'],
  sources: ['src conf', 'src', 'src/*', '.', 'src/a src/b', 'conf src', 'src/d* conf'],
  flags: [
    '',
    '--chown=1000:2000',
    '--chmod=640',
    '--chmod=u=rwX,go=rX',
    '--parents',
    '--link',
    '--exclude=**/b',
    '--chown=7 --chmod=755',
  ],
  destination: ['./', './in/', '/data/', 'in/deep/'],
  toolsMount: [
    '',
    '--mount=type=bind,from=tools,source=/out,target=/tools',
    '--mount=type=bind,from=tools,source=/out,target=/tools,rw',
    '--mount=type=bind,from=tools,source=/lib2,target=/tools',
  ],
  contextMount: [
    '',
    '--mount=type=bind,source=conf,target=/conf',
    '--mount=type=bind,target=/conf',
    '--mount=type=bind,source=src,target=/conf,rw',
    '--mount=type=tmpfs,target=/conf',
  ],
  run: [
    'echo one > /one',
    'echo two > /one',
    'mkdir -p /one.d; chmod 711 /one.d',
    'rm -rf /app; echo gone > /one',
    'true',
  ],
  heredoc: ['hello', 'hello there', 'hello  there'],
  ignore: ['', '*.log', '**/b', 'src\n!src/a', 'conf/*\n!conf/keep', '*\n!src', '# nothing', 'src/d?'],
  argument: ['', 'x', 'y'],
  epoch: ['1000000000', '1000000001', ''],
};
const FIELDS = Object.keys(CHOICES) as (keyof Recipe)[];

/** Writes down names, modes, owners, targets and contents; of directories no sizes, which differ by file system. */
const LIST = [
  'find . -type f | sort | xargs -r stat -c "%n %a %u %g %s"',
  'find . -type f | sort | xargs -r cat',
  'find . -type d | sort | xargs -r stat -c "%n %a %u %g"',
  'find . -type l | sort | xargs -r stat -c "%N"',
].join('; ');
/** Of a mount: who owns files of the context there is the machine's business. */
const LIST_MOUNT = LIST.replaceAll(' %u %g', '');

export function firstRecipe(): Recipe {
  return Object.fromEntries(FIELDS.map((field) => [field, CHOICES[field][0]])) as unknown as Recipe;
}

export function dockerfileOf(recipe: Recipe): string {
  const looks = (place: string): string => `if cd ${place} 2>/dev/null; then ${LIST_MOUNT}; fi`;
  return [
    'FROM bb:1 AS tools',
    `SHELL ${recipe.shell}`,
    'COPY lib /lib2/',
    'ARG EXTRA',
    `RUN mkdir /out; cd /lib2; (${LIST}) > /out/list; env | sort > /out/env`,
    'FROM bb:1',
    `ARG VERSION=${recipe.version}`,
    `ENV MODE="${recipe.mode}"`,
    `LABEL kind=${recipe.label}`,
    `WORKDIR ${recipe.workdir}`,
    `COPY ${recipe.flags} ${recipe.sources} ${recipe.destination}`,
    'COPY --from=tools /out /tools-out/',
    `RUN ${recipe.toolsMount} ${recipe.contextMount} (${looks('/tools')}; ${looks('/conf')}) > /mounts; env | sort > /env`,
    `RUN cd /; ${recipe.run}`,
    'COPY <<EOF /heredoc',
    `${recipe.heredoc} $VERSION`,
    'EOF',
    `USER ${recipe.user}`,
    `RUN (id -u; id -g; pwd; ${LIST}) > /tmp/seen 2>&1`,
    '',
  ].join('\n');
}

type Entry =
  | { readonly kind: 'file'; readonly text: string; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly mode: number };

/** Path → what is there, parents before what is in them. */
export type Files = ReadonlyMap<string, Entry>;

/** why not readdir's own recursion: it follows symlinks. */
function pathsBelow(directory: string, below: string): string[] {
  return readdirSync(join(directory, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name);
    return entry.isDirectory() ? [path, ...pathsBelow(directory, path)] : [path];
  });
}

export function readFiles(directory: string): Files {
  const files = new Map<string, Entry>();
  for (const path of pathsBelow(directory, '').sort()) {
    const at = join(directory, path);
    const stat = lstatSync(at);
    if (stat.isSymbolicLink()) files.set(path, { kind: 'link', target: readlinkSync(at) });
    else if (stat.isDirectory()) files.set(path, { kind: 'directory', mode: stat.mode & 0o7777 });
    else files.set(path, { kind: 'file', text: readFileSync(at, 'utf8'), mode: stat.mode & 0o7777 });
  }
  return files;
}

/** Makes the directory what it was, touching only what differs. */
export function restoreFiles(directory: string, wanted: Files): void {
  const now = readFiles(directory);
  const same = (a: Entry | undefined, b: Entry | undefined): boolean =>
    JSON.stringify(a) === JSON.stringify(b);
  for (const path of [...now.keys()].reverse())
    if (!same(now.get(path), wanted.get(path)) && !bothDirectories(now.get(path), wanted.get(path)))
      rmSync(join(directory, path), { recursive: true, force: true });
  for (const [path, entry] of wanted) {
    const at = join(directory, path);
    if (entry.kind === 'directory') {
      mkdirSync(at, { recursive: true });
      chmodSync(at, entry.mode);
    } else if (!same(now.get(path), entry)) write(at, entry);
  }
}

function bothDirectories(a: Entry | undefined, b: Entry | undefined): boolean {
  return a?.kind === 'directory' && b?.kind === 'directory';
}

function write(at: string, entry: Exclude<Entry, { kind: 'directory' }>): void {
  if (entry.kind === 'link') symlinkSync(entry.target, at);
  else {
    writeFileSync(at, entry.text);
    chmodSync(at, entry.mode);
  }
}

export function makeFiles(directory: string): void {
  for (const path of [
    'src/a',
    'src/b',
    'src/d1/x',
    'src/d1/y',
    'src/d2/z',
    'src/big',
    'conf/keep',
    'conf/other',
    'conf/x.log',
    'lib/one',
    'lib/two',
  ]) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), path === 'src/big' ? 'big'.repeat(30_000) : `${path}\n`);
  }
  symlinkSync('a', join(directory, 'src/link'));
}

const NAMES = ['a', 'b', 'c', 'e', 'x', 'y', 'keep', 'one', 'd1', 'd2', 'd3', 'n.log', 'link'];

/** One random edit of the files; what it was. Some do nothing. */
export function editFiles(directory: string, random: Random): string {
  const files = [...readFiles(directory)];
  const plain = files.filter(([, { kind }]) => kind === 'file').map(([path]) => path);
  const directories = [
    'src',
    'conf',
    'lib',
    ...files.filter(([, { kind }]) => kind === 'directory').map(([path]) => path),
  ].filter((path) => lstatSync(join(directory, path), { throwIfNoEntry: false })?.isDirectory() === true);
  const fresh = (): string => join(random.pick(directories), random.pick(NAMES));
  const [any] = [plain.length === 0 ? undefined : random.pick(plain)];
  const at = (path: string): string => join(directory, path);
  const isThere = (path: string): boolean => lstatSync(at(path), { throwIfNoEntry: false }) !== undefined;
  const create = (path: string): string => {
    if (isThere(path)) return 'nothing';
    writeFileSync(at(path), `new ${random.below(5)}\n`);
    return `create ${path}`;
  };
  if (any === undefined) return create(fresh());
  switch (random.below(14)) {
    case 0:
    case 1: {
      writeFileSync(at(any), `text ${random.below(6)}\n`);
      return `write ${any}`;
    }
    case 2: {
      // The same length and the same mtime: only the ctime tells.
      const { atime, mtime } = lstatSync(at(any));
      const text = readFileSync(at(any), 'utf8');
      writeFileSync(
        at(any),
        text.replace(/[a-z]/, (letter) => (letter === 'q' ? 'r' : 'q')),
      );
      utimesSync(at(any), atime, mtime);
      return `write ${any} and restore its mtime`;
    }
    case 3: {
      chmodSync(at(any), random.pick([0o644, 0o755, 0o600, 0o4755, 0o664]));
      return `chmod ${any}`;
    }
    case 4:
    case 5: {
      const to = fresh();
      if (isThere(to) && lstatSync(at(to)).isDirectory()) return 'nothing';
      renameSync(at(any), at(to));
      return `rename ${any} to ${to}`;
    }
    case 6: {
      rmSync(at(any));
      return `delete ${any}`;
    }
    case 7: {
      const path = fresh();
      if (isThere(path)) return 'nothing';
      symlinkSync(random.pick(['a', '../conf/keep', '/etc/passwd', 'nowhere', '.']), at(path));
      return `symlink ${path}`;
    }
    case 8: {
      const other = random.pick(plain);
      if (other === any) return 'nothing';
      renameSync(at(any), at('.swap'));
      renameSync(at(other), at(any));
      renameSync(at('.swap'), at(other));
      return `swap ${any} and ${other}`;
    }
    case 9: {
      const path = fresh();
      if (isThere(path)) return 'nothing';
      mkdirSync(at(path), { mode: random.pick([0o755, 0o700]) });
      return `mkdir ${path}`;
    }
    case 10: {
      const path = random.pick(directories);
      chmodSync(at(path), random.pick([0o755, 0o711, 0o700]));
      return `chmod ${path}`;
    }
    case 11: {
      const links = files.filter(([, { kind }]) => kind === 'link');
      if (links.length === 0) return 'nothing';
      rmSync(at(random.pick(links)[0]));
      return 'delete a symlink';
    }
    case 12: {
      utimesSync(at(any), 1_500_000_000 + random.below(1000), 1_500_000_000 + random.below(1000));
      chownSync(at(any), random.below(3), random.below(3));
      return `touch and chown ${any}`;
    }
    default:
      return create(fresh());
  }
}

/** One random edit of the recipe. */
export function editRecipe(
  recipe: Recipe,
  random: Random,
): { readonly recipe: Recipe; readonly what: string } {
  const field = random.pick(FIELDS);
  const value = random.pick(CHOICES[field]);
  return { recipe: { ...recipe, [field]: value }, what: `${field} = ${JSON.stringify(value)}` };
}
