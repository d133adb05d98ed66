/**
 * Why steps are executed: a project, and mutations of it that have one cause each. Each is asked about with
 * `tsbuild why`, then built, and both must name that cause and no other.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { WhyStep } from '../../src/engine/why.ts';
import type { Cause, FileChange } from '../../src/progress/cause.ts';
import type { ProgressEvent } from '../../src/progress/progress.ts';
import { startCommands, type Commands } from './commands.ts';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

const DOCKERFILE = `# a comment
ARG TAG=1
FROM bb:\${TAG} AS build
ARG VERSION=1
ENV MODE=prod
ENV FULL=v\${VERSION}
WORKDIR /src
COPY src ./src
COPY --chown=7:7 package.json list* ./
RUN --mount=type=cache,id=c,target=/cache --mount=type=secret,id=tok echo built > /out

FROM bb:1
ARG UNUSED
ARG DIR=conf
COPY --from=build /out /out
COPY --chmod=600 --exclude=*.log assets /assets
COPY $DIR /conf
RUN --mount=type=bind,source=data,target=/data cat /data/d > /d
COPY <<EOF /inline
text
EOF
USER bob
SHELL ["/bin/sh", "-ec"]
RUN --network=none echo last
`;

const FILES: Readonly<Record<string, string>> = {
  Dockerfile: DOCKERFILE,
  '.dockerignore': 'Dockerfile\n.dockerignore\n**/*.tmp\n',
  'src/a.txt': 'a\n',
  'src/b.txt': 'b\n',
  'src/skip.tmp': 'ignored\n',
  'src/sub/c.txt': 'c\n',
  'package.json': '{}\n',
  'list.txt': 'l\n',
  'assets/x': 'x\n',
  'assets/noise.log': 'log\n',
  'conf/c': 'c\n',
  'other/c': 'other\n',
  'data/d': 'd\n',
  'data/e': 'e\n',
};

const MOUNTS = '--mount=type=cache,id=c,target=/cache --mount=type=secret,id=tok';
const MOUNTS_TURNED = MOUNTS.split(' ').toReversed().join(' ');

const SECRET = ['--secret', 'id=tok,env=TOKEN'];

let space: Workspace;
let commands: Commands;
let context: string;

function reset(): void {
  rmSync(context, { recursive: true, force: true });
  space.context('project', FILES);
  symlinkSync('a.txt', join(context, 'src/link'));
}

before(() => {
  space = openWorkspace();
  context = join(space.directory, 'project');
  importBusybox(space);
  // The same image under another name, and another one.
  space.ok(['tag', 'bb:1', 'bb:same']);
  space.context('other-base', { Dockerfile: 'FROM bb:1\nRUN echo other > /other\n' });
  space.ok(['-q', '-t', 'bb:2', join(space.directory, 'other-base')]);
  reset();
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  space[Symbol.dispose]();
});
beforeEach(reset);

type Expected = Readonly<Record<string, readonly Cause[]>>;

interface Mutation {
  readonly name: string;
  /** What the project is besides, before and after. */
  readonly before?: () => void;
  readonly edit?: () => void;
  readonly flags?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** By a part of the step's name: its own causes. All other steps are cached, or follow these. */
  readonly causes: Expected;
}

const at = (path: string): string => join(context, path);
const write = (path: string, text: string): void => writeFileSync(at(path), text);
const edit = (from: string, to: string): void => {
  const text = readFileSync(at('Dockerfile'), 'utf8');
  assert.ok(text.includes(from));
  write(
    'Dockerfile',
    text.replace(from, () => to),
  );
};
const SRC = 'COPY src ./src';
const PACKAGE = 'package.json list*';
const BUILD = 'echo built';
const ASSETS = 'assets /assets';
const CONF = 'COPY $DIR /conf';
const DATA = 'cat /data/d';
const LAST = 'echo last';
const NOTHING: Expected = {};
const BY_VARIABLE = [
  'COPY <<EOF /inline\n',
  'ARG WHO=1\nUSER $WHO\nWORKDIR /w/$WHO\nRUN --mount=type=tmpfs,target=/$WHO echo by variable\nUSER 0\nCOPY <<EOF /inline\n$WHO\n',
] as const;

/** One changed file of the build context; `of` how many that are there or were. */
function file(change: FileChange, of: number): readonly Cause[] {
  return [{ kind: 'files', source: 'the build context', changes: [change], changed: 1, of }];
}
const pair = (before?: string, after?: string): { readonly before?: string; readonly after?: string } => ({
  ...(before === undefined ? {} : { before }),
  ...(after === undefined ? {} : { after }),
});
const arg = (name: string, before?: string, after?: string): Cause => ({
  kind: 'variable',
  variable: 'ARG',
  name,
  ...pair(before, after),
});
const env = (name: string, before?: string, after?: string): Cause => ({
  kind: 'variable',
  variable: 'ENV',
  name,
  ...pair(before, after),
});
const setting = (name: string, before?: string, after?: string): Cause => ({
  kind: 'setting',
  name,
  ...pair(before, after),
});

const MUTATIONS: readonly Mutation[] = [
  { name: 'nothing', causes: NOTHING },
  {
    name: 'content of a file',
    edit: () => write('src/a.txt', 'A\n'),
    causes: { [SRC]: file({ change: 'content', path: 'src/a.txt' }, 4) },
  },
  {
    name: 'content of a file that is named by itself',
    edit: () => write('package.json', '{"a":1}\n'),
    causes: { [PACKAGE]: file({ change: 'content', path: 'package.json' }, 2) },
  },
  {
    name: 'mode of a file',
    edit: () => chmodSync(at('src/b.txt'), 0o755),
    causes: { [SRC]: file({ change: 'mode', path: 'src/b.txt', before: '644', after: '755' }, 4) },
  },
  {
    name: 'mode of a directory',
    edit: () => chmodSync(at('src/sub'), 0o700),
    causes: { [SRC]: file({ change: 'mode', path: 'src/sub', before: '755', after: '700' }, 5) },
  },
  {
    name: 'a renamed file',
    edit: () => renameSync(at('src/b.txt'), at('src/z.txt')),
    causes: { [SRC]: file({ change: 'renamed', path: 'src/z.txt', from: 'src/b.txt' }, 4) },
  },
  {
    name: 'a renamed directory',
    edit: () => renameSync(at('src/sub'), at('src/below')),
    causes: { [SRC]: file({ change: 'renamed', path: 'src/below/', from: 'src/sub/' }, 4) },
  },
  {
    name: 'a file moved into another directory',
    edit: () => renameSync(at('src/b.txt'), at('src/sub/b.txt')),
    causes: { [SRC]: file({ change: 'renamed', path: 'src/sub/b.txt', from: 'src/b.txt' }, 4) },
  },
  {
    name: 'a new file',
    edit: () => write('src/new.txt', 'new\n'),
    causes: { [SRC]: file({ change: 'added', path: 'src/new.txt' }, 5) },
  },
  {
    name: 'a new empty file',
    edit: () => write('src/empty', ''),
    causes: { [SRC]: file({ change: 'added', path: 'src/empty' }, 5) },
  },
  {
    name: 'a new directory with files',
    edit() {
      mkdirSync(at('src/more'));
      write('src/more/1', '1');
      write('src/more/2', '2');
    },
    causes: { [SRC]: file({ change: 'added', path: 'src/more/' }, 6) },
  },
  {
    name: 'a removed file',
    edit: () => rmSync(at('src/b.txt')),
    causes: { [SRC]: file({ change: 'removed', path: 'src/b.txt' }, 4) },
  },
  {
    name: 'a removed directory',
    edit: () => rmSync(at('src/sub'), { recursive: true }),
    causes: { [SRC]: file({ change: 'removed', path: 'src/sub/' }, 4) },
  },
  {
    name: 'one more file that a wildcard matches',
    edit: () => write('list2.txt', 'l2\n'),
    causes: { [PACKAGE]: file({ change: 'added', path: 'list2.txt' }, 3) },
  },
  {
    name: 'target of a link',
    edit() {
      rmSync(at('src/link'));
      symlinkSync('b.txt', at('src/link'));
    },
    causes: { [SRC]: file({ change: 'target', path: 'src/link', before: 'a.txt', after: 'b.txt' }, 4) },
  },
  {
    name: 'a file that became a directory',
    edit() {
      rmSync(at('src/b.txt'));
      mkdirSync(at('src/b.txt'));
      write('src/b.txt/in', 'in\n');
    },
    causes: { [SRC]: file({ change: 'type', path: 'src/b.txt', before: 'file', after: 'directory' }, 5) },
  },
  {
    name: 'a file that became a link',
    edit() {
      rmSync(at('src/b.txt'));
      symlinkSync('a.txt', at('src/b.txt'));
    },
    causes: { [SRC]: file({ change: 'type', path: 'src/b.txt', before: 'file', after: 'symlink' }, 4) },
  },
  {
    name: 'two files',
    edit() {
      write('src/a.txt', 'A\n');
      write('src/b.txt', 'B\n');
    },
    causes: {
      [SRC]: [
        {
          kind: 'files',
          source: 'the build context',
          changes: [
            { change: 'content', path: 'src/a.txt' },
            { change: 'content', path: 'src/b.txt' },
          ],
          changed: 2,
          of: 4,
        },
      ],
    },
  },
  {
    name: 'the ignore file leaves out one more file',
    edit: () => write('.dockerignore', `${FILES['.dockerignore'] ?? ''}src/sub/c.txt\n`),
    causes: {
      [SRC]: [{ kind: 'ignore', file: 'project/.dockerignore', added: [], removed: ['src/sub/c.txt'] }],
    },
  },
  {
    name: 'the ignore file lets a file through',
    edit: () => write('.dockerignore', 'Dockerfile\n.dockerignore\n'),
    causes: {
      [SRC]: [{ kind: 'ignore', file: 'project/.dockerignore', added: ['src/skip.tmp'], removed: [] }],
    },
  },
  {
    name: 'the ignore file makes an exception in a directory that it leaves out',
    before() {
      write('.dockerignore', `${FILES['.dockerignore'] ?? ''}src/sub\n`);
      write('src/a.txt', 'without sub\n');
    },
    edit: () => write('.dockerignore', `${FILES['.dockerignore'] ?? ''}src/sub\n!src/sub/c.txt\n`),
    causes: {
      [SRC]: [{ kind: 'ignore', file: 'project/.dockerignore', added: ['src/sub/c.txt'], removed: [] }],
    },
  },
  {
    name: 'a pattern of the ignore file that matches nothing',
    edit: () => write('.dockerignore', `${FILES['.dockerignore'] ?? ''}nothing-of-this\n`),
    causes: NOTHING,
  },
  { name: 'a file that is ignored', edit: () => write('src/skip.tmp', 'other\n'), causes: NOTHING },
  { name: 'a file that nothing copies', edit: () => write('unused', 'u\n'), causes: NOTHING },
  { name: 'a file that --exclude leaves out', edit: () => write('assets/noise.log', 'x\n'), causes: NOTHING },
  {
    name: 'the mode of a file that --chmod gives',
    edit: () => chmodSync(at('assets/x'), 0o777),
    causes: NOTHING,
  },
  { name: 'the time of a file', edit: () => utimesSync(at('src/a.txt'), 1e9, 1e9), causes: NOTHING },
  { name: 'the owner of a file', edit: () => chownSync(at('src/a.txt'), 99, 99), causes: NOTHING },
  {
    name: 'the same content written again',
    edit: () => write('src/a.txt', FILES['src/a.txt'] ?? ''),
    causes: NOTHING,
  },
  {
    name: 'value of an ARG',
    flags: ['--build-arg', 'VERSION=2'],
    causes: { [BUILD]: [arg('VERSION', '1', '2')] },
  },
  {
    name: 'an ARG that had no value',
    flags: ['--build-arg', 'UNUSED=x'],
    causes: { [DATA]: [arg('UNUSED', undefined, 'x')], [LAST]: [arg('UNUSED', undefined, 'x')] },
  },
  {
    name: 'an ARG in the words of a COPY',
    flags: ['--build-arg', 'DIR=other'],
    causes: {
      [CONF]: [arg('DIR', 'conf', 'other')],
      [DATA]: [arg('DIR', 'conf', 'other')],
      [LAST]: [arg('DIR', 'conf', 'other')],
    },
  },
  {
    name: 'an ARG in the words of USER, WORKDIR, a mount and a heredoc',
    // why: what was built last is what is compared with, so that the words are there already.
    before: () => edit(...BY_VARIABLE),
    flags: ['--build-arg', 'WHO=2'],
    causes: {
      'WORKDIR /w/$WHO': [arg('WHO', '1', '2')],
      'by variable': [arg('WHO', '1', '2')],
      'COPY <<EOF': [arg('WHO', '1', '2')],
      [LAST]: [arg('WHO', '1', '2')],
    },
  },
  { name: 'a build argument that no ARG asks for', flags: ['--build-arg', 'NOBODY=1'], causes: NOTHING },
  {
    name: 'value of an ENV',
    edit: () => edit('MODE=prod', 'MODE=test'),
    causes: { [BUILD]: [env('MODE', 'prod', 'test')] },
  },
  {
    name: 'one more ENV',
    edit: () => edit('ENV MODE=prod', 'ENV MODE=prod EXTRA=1'),
    causes: { [BUILD]: [env('EXTRA', undefined, '1')] },
  },
  {
    name: 'an ENV less',
    edit: () => edit('ENV MODE=prod\n', ''),
    causes: { [BUILD]: [env('MODE', 'prod', undefined)] },
  },
  {
    name: 'another base image',
    flags: ['--build-arg', 'TAG=2'],
    causes: {
      'WORKDIR /src': [
        {
          kind: 'base',
          before: { reference: 'docker.io/library/bb:1' },
          after: { reference: 'docker.io/library/bb:2' },
        },
      ],
    },
  },
  { name: 'another name of the same base image', flags: ['--build-arg', 'TAG=same'], causes: NOTHING },
  {
    name: 'the option of a mount',
    edit: () => edit('type=cache,id=c,target=/cache', 'type=cache,id=d,target=/cache'),
    causes: {
      [BUILD]: [
        { kind: 'mount', mount: 'cache /cache', change: 'option', option: 'id', before: 'c', after: 'd' },
      ],
    },
  },
  {
    name: 'the place of a mount',
    edit: () => edit('target=/cache ', 'target=/cash '),
    causes: {
      [BUILD]: [
        {
          ...{ kind: 'mount', mount: 'cache /cache', change: 'option', option: 'target' },
          ...{ before: '/cache', after: '/cash' },
        },
      ],
    },
  },
  {
    name: 'the type of a mount',
    edit: () => edit('type=cache,id=c,target=/cache', 'type=tmpfs,target=/cache'),
    causes: {
      [BUILD]: [
        {
          ...{ kind: 'mount', mount: 'cache /cache', change: 'option', option: 'type' },
          ...{ before: 'cache', after: 'tmpfs' },
        },
      ],
    },
  },
  {
    name: 'the mode of a mount',
    edit: () => edit('id=tok ', 'id=tok,mode=0444 '),
    causes: {
      [BUILD]: [
        {
          ...{ kind: 'mount', mount: 'secret /run/secrets/tok', change: 'option', option: 'mode' },
          ...{ before: '0400', after: '0444' },
        },
      ],
    },
  },
  {
    name: 'another secret',
    edit: () => edit('id=tok ', 'id=tok2 '),
    causes: {
      [BUILD]: [
        {
          ...{ kind: 'mount', mount: 'secret /run/secrets/tok', change: 'option', option: 'id' },
          ...{ before: 'tok', after: 'tok2' },
        },
      ],
    },
  },
  {
    name: 'mounts in another order',
    edit: () => edit(MOUNTS, MOUNTS_TURNED),
    causes: {
      [BUILD]: [
        {
          kind: 'instruction',
          before: `RUN ${MOUNTS} echo built > /out`,
          after: `RUN ${MOUNTS_TURNED} echo built > /out`,
        },
      ],
    },
  },
  {
    name: 'one more mount',
    edit: () => edit('RUN --mount=type=cache', 'RUN --mount=type=tmpfs,target=/t --mount=type=cache'),
    causes: { [BUILD]: [{ kind: 'mount', mount: 'tmpfs /t', change: 'added' }] },
  },
  {
    name: 'a mount less',
    edit: () => edit('--mount=type=secret,id=tok ', ''),
    causes: { [BUILD]: [{ kind: 'mount', mount: 'secret /run/secrets/tok', change: 'removed' }] },
  },
  {
    name: 'a mounted file',
    edit: () => write('data/e', 'E\n'),
    causes: {
      'files to mount from /data': file({ change: 'content', path: 'data/e' }, 2),
      [DATA]: [
        {
          kind: 'mount',
          mount: 'bind /data',
          change: 'files',
          causes: file({ change: 'content', path: 'data/e' }, 2),
        },
      ],
    },
  },
  { name: 'the value of a secret', env: { TOKEN: 'another' }, causes: NOTHING },
  {
    name: 'the network of a step',
    edit: () => edit('RUN --network=none', 'RUN'),
    causes: { [LAST]: [setting('--network', 'none', 'default')] },
  },
  {
    name: 'the network of the build',
    flags: ['--network', 'none'],
    causes: {
      [BUILD]: [setting('--network', 'default', 'none')],
      [DATA]: [setting('--network', 'default', 'none')],
    },
  },
  {
    name: 'a name that is given to steps',
    flags: ['--add-host', 'db:10.0.0.1'],
    causes: Object.fromEntries(
      [BUILD, DATA, LAST].map((step) => [step, [setting('--add-host', undefined, 'db:10.0.0.1')]]),
    ),
  },
  {
    name: 'a COPY that became an ADD',
    edit: () => edit('COPY $DIR /conf', 'ADD $DIR /conf'),
    causes: {
      'ADD $DIR /conf': [{ kind: 'instruction', before: 'COPY $DIR /conf', after: 'ADD $DIR /conf' }],
    },
  },
  {
    name: '--chown',
    edit: () => edit('--chown=7:7', '--chown=8'),
    causes: { [PACKAGE]: [setting('--chown', '7:7', '8')] },
  },
  {
    name: '--chmod',
    edit: () => edit('--chmod=600', '--chmod=640'),
    causes: { [ASSETS]: [setting('--chmod', '600', '640')] },
  },
  {
    name: '--chmod taken away',
    edit: () => edit('--chmod=600 ', ''),
    causes: { [ASSETS]: [setting('--chmod', '600')] },
  },
  {
    name: '--exclude',
    edit: () => edit('--exclude=*.log', '--exclude=*.tmp'),
    causes: { [ASSETS]: [setting('--exclude', '*.log', '*.tmp')] },
  },
  {
    name: '--parents',
    edit: () => edit('COPY --chown=7:7', 'COPY --parents --chown=7:7'),
    causes: { [PACKAGE]: [setting('--parents', undefined, 'true')] },
  },
  {
    name: '--link',
    edit: () => edit('COPY src', 'COPY --link src'),
    causes: { 'COPY --link src ./src': [setting('--link', undefined, 'true')] },
  },
  {
    name: 'text of a RUN',
    edit: () => edit('echo built', 'true; echo built'),
    causes: {
      [BUILD]: [
        {
          kind: 'instruction',
          before: 'RUN --mount=type=cache,id=c,target=/cache --mount=type=secret,id=tok echo built > /out',
          after:
            'RUN --mount=type=cache,id=c,target=/cache --mount=type=secret,id=tok true; echo built > /out',
        },
      ],
    },
  },
  {
    name: 'destination of a COPY',
    edit: () => edit('COPY src ./src', 'COPY src ./srcs'),
    causes: {
      'COPY src ./srcs': [{ kind: 'instruction', before: 'COPY src ./src', after: 'COPY src ./srcs' }],
    },
  },
  {
    name: 'source of a COPY',
    edit: () => edit('assets /assets', 'conf /assets'),
    causes: {
      'conf /assets': [
        {
          kind: 'instruction',
          before: 'COPY --chmod=600 --exclude=*.log assets /assets',
          after: 'COPY --chmod=600 --exclude=*.log conf /assets',
        },
      ],
    },
  },
  {
    name: 'a heredoc',
    edit: () => edit('\ntext\n', '\nother text\n'),
    causes: { 'COPY <<EOF /inline': [{ kind: 'source', source: 'heredoc EOF' }] },
  },
  {
    name: 'what the end of a heredoc is called',
    edit: () => edit('COPY <<EOF /inline\ntext\nEOF', 'COPY <<END /inline\ntext\nEND'),
    causes: {
      'COPY <<END': [{ kind: 'instruction', before: 'COPY <<EOF /inline', after: 'COPY <<END /inline' }],
    },
  },
  {
    name: 'the working directory',
    edit: () => edit('WORKDIR /src', 'WORKDIR /work'),
    causes: {
      'WORKDIR /work': [{ kind: 'instruction', before: 'WORKDIR /src', after: 'WORKDIR /work' }],
      [SRC]: [setting('WORKDIR', '/src/src', '/work/src')],
      [PACKAGE]: [setting('WORKDIR', '/src/', '/work/')],
      [BUILD]: [setting('WORKDIR', '/src', '/work')],
    },
  },
  {
    name: 'the user',
    edit: () => edit('USER bob', 'USER 1001'),
    causes: { [LAST]: [setting('USER', 'bob', '1001')] },
  },
  {
    name: 'the shell',
    edit: () => edit('"-ec"', '"-euc"'),
    causes: { [LAST]: [setting('SHELL', '/bin/sh -ec', '/bin/sh -euc')] },
  },
  {
    name: 'an instruction that is new',
    edit: () => edit('USER bob', 'RUN touch /fresh\nUSER bob'),
    causes: { 'RUN touch /fresh': [{ kind: 'new' }] },
  },
  {
    name: 'an instruction less',
    edit: () => edit('COPY $DIR /conf\n', ''),
    causes: {
      [DATA]: [
        {
          kind: 'order',
          step: '[stage-1 3/6] COPY --chmod=600 --exclude=*.log assets /assets',
          before: 'COPY $DIR /conf',
        },
      ],
    },
  },
  { name: 'a comment', edit: () => edit('# a comment', '# another one'), causes: NOTHING },
  { name: 'white space', edit: () => edit('COPY src ./src', 'COPY   src    ./src'), causes: NOTHING },
  { name: 'a label', flags: ['--label', 'a=b'], causes: NOTHING },
  {
    name: '--no-cache-filter',
    flags: ['--no-cache-filter', 'build'],
    causes: Object.fromEntries(
      ['WORKDIR /src', SRC, PACKAGE, BUILD].map((step) => [step, [{ kind: 'no-cache' }]]),
    ),
  },
  {
    name: 'SOURCE_DATE_EPOCH',
    flags: ['--build-arg', 'SOURCE_DATE_EPOCH=1000000000'],
    causes: Object.fromEntries(
      [
        ...['WORKDIR /src', SRC, PACKAGE, BUILD, '--from=build', ASSETS, CONF, 'files to mount', DATA],
        ...['COPY <<EOF', LAST],
      ].map((step) => [step, [setting('SOURCE_DATE_EPOCH', undefined, '1000000000')]]),
    ),
  },
];

/** Causes that a step has of its own: not that it follows another, and without identities of images. */
function ownCauses(causes: readonly Cause[]): readonly Cause[] {
  return causes
    .filter(({ kind }) => kind !== 'parent')
    .map((cause): Cause => {
      if (cause.kind === 'base')
        return {
          kind: 'base',
          before: { reference: cause.before.reference },
          after: { reference: cause.after.reference },
        };
      if (cause.kind !== 'mount' || cause.change !== 'files') return cause;
      const { kind, mount, change, causes: of } = cause;
      return { kind, mount, change, ...(of === undefined ? {} : { causes: of }) };
    });
}

function check(
  where: string,
  expected: Expected,
  found: readonly { readonly name: string; readonly causes: readonly Cause[] }[],
): void {
  const executed: Record<string, readonly Cause[]> = {};
  for (const { name, causes } of found) {
    const key = Object.keys(expected).find((part) => name.includes(part));
    const own = ownCauses(causes);
    // What only follows from others is no cause of its own.
    if (own.length > 0) executed[key ?? name] = own;
  }
  assert.deepEqual(executed, expected, where);
}

/** Steps of one build that were executed, with their causes. */
function executedIn(stderr: string): readonly { readonly name: string; readonly causes: readonly Cause[] }[] {
  const events = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as ProgressEvent);
  const names = new Map(
    events.flatMap((event) => (event.kind === 'vertex' ? [[event.vertex, event.name] as const] : [])),
  );
  return events.flatMap((event) =>
    event.kind === 'status' && event.status.kind === 'executing'
      ? [{ name: names.get(event.vertex) ?? '', causes: event.status.causes }]
      : [],
  );
}

for (const { name, before: prepare, edit: change, flags = [], env: given = {}, causes } of MUTATIONS)
  test(`${name}: ${Object.keys(causes).length === 0 ? 'no cause of its own' : 'exactly that is the cause'}`, async () => {
    const ok = (given: readonly string[], values: NodeJS.ProcessEnv) =>
      commands.ok(given, space.directory, values);
    prepare?.();
    // What is compared with is what was built last.
    await ok(['-q', ...SECRET, context], { TOKEN: 'one' });
    change?.();
    const args = [...SECRET, ...flags, context];
    const values = { TOKEN: 'one', ...given };
    const asked = await ok(['why', '--format', 'json', '--progress', 'quiet', ...args], values);
    const { steps } = JSON.parse(asked.stdout) as { readonly steps: readonly WhyStep[] };
    const expected = steps.filter(({ state }) => state === 'executed');
    check('tsbuild why', causes, expected);
    const executed = executedIn((await ok(['--progress', 'json', ...args], values)).stderr);
    check('progress', causes, executed);
    // What was said before is what happened, but for steps that came out as before.
    const depending = steps.flatMap((step) => (step.state === 'depends' ? [step.name] : []));
    const names = executed.map((step) => step.name).filter((each) => !depending.includes(each));
    assert.deepEqual(expected.map((step) => step.name).toSorted(), names.toSorted());
  });

test('asking before a build does not take the names of changed files from its explanation', async () => {
  const ok = async (args: readonly string[]) => commands.ok(args, space.directory);
  const directory = space.context('asked', {
    Dockerfile: 'FROM bb:1 AS a\nCOPY f /f\nFROM scratch\nCOPY --from=a /f /g\n',
    f: '1\n',
  });
  await ok(['why', directory]);
  await ok(['-q', directory]);
  for (const text of ['2\n', '3\n']) {
    writeFileSync(join(directory, 'f'), text);
    // The first stage as it will be is known, so that the second can be looked into.
    await ok(['-q', '--target', 'a', directory]);
    await ok(['why', directory]);
    const { stderr } = await ok(['--progress', 'json', directory]);
    const [copied] = executedIn(stderr).filter(({ name }) => name.includes('--from=a'));
    assert.deepEqual(copied?.causes, [
      {
        ...{ kind: 'files', source: 'stage "a"', changed: 1, of: 1 },
        changes: [{ change: 'content', path: 'f' }],
      },
    ]);
  }
});

test('what is called otherwise and may come out the same decides nothing for the steps after it', async () => {
  const ok = async (args: readonly string[]) => commands.ok(args, space.directory);
  const text = (name: string): string => `FROM bb:1\nCOPY <<${name} /f\ntext\n${name}\nRUN true\n`;
  const directory = space.context('called', { Dockerfile: text('A') });
  await ok(['-q', directory]);
  writeFileSync(join(directory, 'Dockerfile'), text('B'));
  const { stdout } = await ok(['why', '--format', 'json', directory]);
  const { steps } = JSON.parse(stdout) as { readonly steps: readonly WhyStep[] };
  assert.deepEqual(
    steps.map(({ state }) => state),
    ['given', 'executed', 'depends'],
  );
  const { stderr } = await ok(['--progress', 'json', directory]);
  assert.deepEqual(
    executedIn(stderr).map(({ name }) => name),
    ['[2/3] COPY <<B /f'],
  );
});

/** Of the steps that would be executed, their causes; of those that depend on others, `depends`. */
async function foretell(
  directory: string,
  flags: readonly string[] = [],
): Promise<Readonly<Record<string, readonly Cause[] | 'depends'>>> {
  const args = ['why', '--format', 'json', '--progress', 'quiet', ...flags, directory];
  const asked = await commands.ok(args, space.directory);
  const { steps } = JSON.parse(asked.stdout) as { readonly steps: readonly WhyStep[] };
  return Object.fromEntries(
    steps
      .filter(({ state }) => state === 'executed' || state === 'depends')
      .map(({ name, state, causes }) => [name, state === 'depends' ? state : causes]),
  );
}

test('a project is not compared with another one whose Dockerfile has the same name', async () => {
  const ok = async (args: readonly string[]) => commands.ok(args, space.directory);
  const first = space.context('first', {
    Dockerfile: 'FROM bb:1\nCOPY f /first\nRUN echo first\nRUN echo more\n',
    f: '1\n',
  });
  const second = space.context('second', {
    Dockerfile: 'FROM bb:1\nCOPY g /second/\nRUN ls /second && true\n',
    g: '2\n',
  });
  await ok(['-q', first]);
  assert.deepEqual(await foretell(second), {
    '[2/3] COPY g /second/': [{ kind: 'new' }],
    '[3/3] RUN ls /second && true': [{ kind: 'new' }],
  });
  await ok(['-q', second]);
  // What was built last at this place is a step of the other project.
  space.context('first', {
    Dockerfile: 'FROM bb:1\nCOPY f /first\nRUN sleep 0\nRUN echo more\n',
    f: '1\n',
  });
  assert.deepEqual(await foretell(first), {
    '[3/4] RUN sleep 0': [{ kind: 'instruction', before: 'RUN echo first', after: 'RUN sleep 0' }],
    '[4/4] RUN echo more': 'depends',
  });
});

test('what lies on COPY --link follows the base image, or the linked step that has other files, by its name', async () => {
  const ok = async (args: readonly string[]) => commands.ok(args, space.directory);
  const files = { d: '1\n', e: '1\n' };
  const text = (tag: string, flag: string): string =>
    `FROM bb:${tag}\nCOPY --link d /d\nCOPY ${flag}e /e\nRUN echo linked\nRUN echo more\n`;
  const write = (tag: string, flag: string, d = '1\n'): string =>
    space.context('linked', { ...files, Dockerfile: text(tag, flag), d });
  const directory = write('1', '--link ');
  await ok(['-q', directory]);
  const more: Cause = { kind: 'parent', step: '[4/5] RUN echo linked' };

  write('2', '--link ');
  const { '[4/5] RUN echo linked': onOther, ...others } = await foretell(directory);
  assert.equal(onOther?.length, 1);
  assert.equal(onOther !== 'depends' && onOther[0]?.kind, 'base');
  assert.deepEqual(others, { '[5/5] RUN echo more': [more] });
  const executed = executedIn((await ok(['--progress', 'json', directory])).stderr);
  assert.deepEqual(executed, [
    { name: '[4/5] RUN echo linked', causes: onOther },
    { name: '[5/5] RUN echo more', causes: [more] },
  ]);

  write('2', '--link ', '2\n');
  const follows: readonly Cause[] = [{ kind: 'parent', step: '[2/5] COPY --link d /d' }];
  assert.deepEqual((await foretell(directory))['[4/5] RUN echo linked'], follows);
  const after = executedIn((await ok(['--progress', 'json', directory])).stderr);
  assert.deepEqual(after.find(({ name }) => name.includes('linked'))?.causes, follows);

  // The same layer, whether it is linked or not: its base is no cause.
  write('2', '', '2\n');
  assert.deepEqual(await foretell(directory), {
    '[3/5] COPY e /e': [{ kind: 'setting', name: '--link', before: 'true' }],
    '[4/5] RUN echo linked': 'depends',
    '[5/5] RUN echo more': 'depends',
  });
});

test('other files of a mount are named once where the stage that it takes them from has another base', async () => {
  const write = (tag: string): string =>
    space.context('mounted-stage', {
      Dockerfile: `FROM bb:${tag} AS one\nCOPY f /f\nRUN echo > /one\nFROM bb:1\nRUN --mount=from=one,target=/one cat /one/f\n`,
      f: '1\n',
    });
  const directory = write('1');
  await commands.ok(['-q', directory], space.directory);
  write('2');
  const told = await foretell(directory);
  const follows: Cause = { kind: 'parent', step: '[one 2/3] COPY f /f' };
  assert.deepEqual(told['[one 3/3] RUN echo > /one'], [follows]);
  assert.deepEqual(told['[stage-1 2/2] RUN --mount=from=one,target=/one cat /one/f'], [
    { kind: 'mount', mount: 'bind /one', change: 'files', option: 'stage "one"', causes: [follows] },
  ]);
});

test('of a build for two platforms each is compared with its own, and not with the one built before it', async () => {
  const both = ['--platform', 'linux/amd64,linux/arm64'];
  const write = (text: string): string =>
    space.context('platforms', {
      Dockerfile: 'FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n',
      f: text,
    });
  const directory = write('1\n');
  const ok = async () => commands.ok(['--progress', 'json', ...both, directory], space.directory);
  await ok();
  write('2\n');
  assert.deepEqual(
    executedIn((await ok()).stderr).map(({ causes }) => causes),
    [1, 2].map(() => file({ change: 'content', path: 'f' }, 1)),
  );
  // What was never built for a platform is compared with another one.
  await commands.ok(['-q', directory], space.directory);
  const told = await foretell(directory, ['--platform', 'linux/riscv64']);
  assert.deepEqual(
    Object.values(told)
      .flat()
      .map((cause) => (typeof cause === 'string' ? cause : cause.kind)),
    ['variable'],
  );
});

test('asking writes no layer, so that it needs no room for one', () => {
  const directory = space.context('much', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: '1\n' });
  const small = join(space.directory, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'small', small]);
  try {
    const env = { TSBUILD_ROOT: join(small, 'state') };
    space.ok(['-q', directory], { env });
    // What would be packed does not fit.
    writeFileSync(join(directory, 'f'), Buffer.alloc(48 << 20, 'much'));
    assert.match(space.ok(['why', directory], { env }).stdout, /EXECUTE \[2\/2\] COPY f \/f\n +f changed\n/);
  } finally {
    execFileSync('umount', [small]);
  }
});
