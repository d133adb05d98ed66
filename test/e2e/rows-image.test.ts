/** Contexts, config, history and outputs row by row: each test is named after the rule that it shows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { importBusybox, openWorkspace, type Ended, type Workspace } from './fixture.ts';
import { readImageConfig } from './image-config.ts';

let space: Workspace;
let serial = 0;

before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => space[Symbol.dispose]());

type Files = Readonly<Record<string, string>>;

function contextOf(dockerfile: string, files: Files = {}): string {
  serial += 1;
  return space.context(`i${serial}`, { Dockerfile: dockerfile, ...files });
}

function build(dockerfile: string, files: Files = {}): Ended {
  return space.tsbuild(['build', '--progress', 'plain', contextOf(dockerfile, files)]);
}

function printed({ stderr, code }: Ended): string {
  assert.equal(code, 0, stderr);
  return [...stderr.matchAll(/^#\d+ \d+\.\d+ (.*)$/gm)].map(([, line = '']) => line).join('\n');
}

test('1.8 Dockerfile lookup: upper case first, lower case, through a symlink, from elsewhere', () => {
  const lower = space.context('lower', { dockerfile: 'FROM bb:1\nRUN echo lower\n' });
  assert.match(space.ok(['build', '--progress', 'plain', lower]).stderr, /\blower\b/);
  const linked = space.context('linked', { real: 'FROM bb:1\nRUN echo linked\n' });
  symlinkSync('real', join(linked, 'Dockerfile'));
  assert.match(space.ok(['build', '--progress', 'plain', linked]).stderr, /\blinked\b/);
  const other = join(contextOf('FROM bb:1\nRUN echo elsewhere\n'), 'Dockerfile');
  assert.match(space.ok(['build', '--progress', 'plain', '-f', other, lower]).stderr, /elsewhere/);
});

test('1.8 .dockerignore choice: the one of the Dockerfile wins, and may hide the Dockerfile itself', () => {
  const files = {
    a: '',
    b: '',
    '.dockerignore': 'a\n',
    'Dockerfile.dockerignore': 'b\nDockerfile*\n.dockerignore\n',
  };
  assert.equal(printed(build('FROM bb:1\nCOPY . /c\nRUN ls -A /c\n', files)), 'a');
});

test('1.8 File format: comments at the first column, trimmed, clean, leading slashes off', () => {
  const ignore = '\uFEFF# comment\n  x  \n\n/d/../d/y\n ! k\nDockerfile\n.dockerignore\n';
  const files = { x: '', 'd/y': '', '# z': '', k: '', '.dockerignore': ignore };
  assert.equal(
    printed(build('FROM bb:1\nCOPY . /c\nRUN cd /c && find . -type f | sort\n', files)),
    './# z\n./k',
  );
  assert.match(
    build('FROM bb:1\nCOPY . /c\n', { '.dockerignore': '!\n' }).stderr,
    /illegal exclusion pattern/,
  );
});

test('1.8 Matching: anchored, ** at any depth, the last pattern wins, malformed ones are errors', () => {
  const ignore = '**/*.log\na\n!a/keep\nDockerfile\n.dockerignore\n';
  const files = { 'a/keep': '', 'a/x/y.log': '', 'y.log': '', 'a/z': '', '.dockerignore': ignore };
  assert.equal(printed(build('FROM bb:1\nCOPY . /c\nRUN cd /c && find . -type f\n', files)), './a/keep');
  assert.match(build('FROM bb:1\nCOPY . /c\n', { '.dockerignore': '[\n' }).stderr, /syntax error in pattern/);
});

test('1.8 Transfer filter: what no COPY can match is not read', () => {
  const context = contextOf('FROM scratch\nCOPY f /\n', { f: 'f' });
  execFileSync('mkfifo', [join(context, 'a-pipe-nobody-writes')]);
  symlinkSync('/nowhere', join(context, 'dangling'));
  space.ok(['build', '-q', context]);
});

test('1.8 Local context change detection: a change that keeps size and time is seen', () => {
  const context = space.context('change', { Dockerfile: 'FROM bb:1\nCOPY f /\nRUN cat /f\n', f: 'one' });
  utimesSync(join(context, 'f'), 1e9, 1e9);
  space.ok(['build', '-q', context]);
  space.context('change', { f: 'two' });
  utimesSync(join(context, 'f'), 1e9, 1e9);
  assert.match(space.ok(['build', '--progress', 'plain', context]).stderr, /^#\d+ [\d.]+ two$/m);
});

test('1.9 Config JSON: top-level fields sorted, config in its usual order, nothing empty', () => {
  const { text, config } = readImageConfig(
    space,
    contextOf(`FROM scratch
LABEL b=2 a=1
EXPOSE 90 80
CMD []
ENTRYPOINT ["e"]
USER u
STOPSIGNAL 9
SHELL ["s"]
VOLUME /v
WORKDIR /
HEALTHCHECK NONE
ONBUILD RUN x
`),
  );
  assert.deepEqual(Object.keys(JSON.parse(text) as object), [
    ...['architecture', 'config', 'created', 'history', 'os', 'rootfs'],
  ]);
  assert.deepEqual(Object.keys(config), [
    ...['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'],
    ...['ArgsEscaped', 'Healthcheck', 'OnBuild', 'Shell'],
  ]);
  assert.deepEqual(Object.keys(config['ExposedPorts'] as object), ['80/tcp', '90/tcp']);
  assert.deepEqual(Object.keys(config['Labels'] as object), ['a', 'b']);
});

test('1.9 History: the texts of every instruction, and which have layers', () => {
  const dockerfile = `FROM scratch
ENV A=1 B=
ARG D=dd
LABEL x=$D y="1 z"
EXPOSE 80 81/udp
USER $D
WORKDIR /
VOLUME /a $D
STOPSIGNAL SIGTERM
SHELL ["/a", "-c"]
CMD ["a", "b\\nc"]
HEALTHCHECK --interval=1s --timeout=2s CMD x
COPY --chown=1:2 --chmod=755 --exclude=no f g/
COPY <<a.txt <<b /x/
a.txt
b
MAINTAINER a b
`;
  const { history } = readImageConfig(space, contextOf(dockerfile, { f: '' }));
  assert.deepEqual(
    history.map(({ created_by, empty_layer }) => `${empty_layer === true ? '' : '* '}${created_by}`),
    [
      'ENV A=1 B=',
      'ARG D=dd',
      'LABEL x=dd y=1 z',
      'EXPOSE [80/tcp 81/udp]',
      'USER dd',
      'WORKDIR /',
      'VOLUME [/a dd]',
      'STOPSIGNAL SIGTERM',
      'SHELL [/a -c]',
      'CMD ["a" "b\\nc"]',
      'HEALTHCHECK {Test:[CMD-SHELL x] Interval:1s Timeout:2s StartPeriod:0s StartInterval:0s Retries:0}',
      '* COPY --chown=1:2 --chmod=755 f g/ # buildkit',
      '* COPY <<a.txt <<b /x/ # buildkit',
      'MAINTAINER a b',
    ],
  );
  assert.ok(history.every(({ comment }) => comment === 'buildkit.dockerfile.v0'));
});

test('1.9 RUN args: arguments declared so far, the value that counts, proxies only when declared', () => {
  const context = contextOf('FROM bb:1\nARG A=1\nARG B\nENV A=2\nARG A2=x\nRUN true\n');
  const { history } = readImageConfig(space, context, '--build-arg', 'HTTP_PROXY=http://p');
  assert.equal(history.at(-1)?.created_by, 'RUN |3 A=2 B= A2=x /bin/sh -c true # buildkit');
});

test('1.9 created: metadata has the time of the layer before it, a cached build changes nothing', () => {
  const context = contextOf('FROM bb:1\nENV A=1\nRUN true\nENV B=2\n');
  const [first, second] = [readImageConfig(space, context), readImageConfig(space, context)];
  assert.equal(first.text, second.text);
  assert.equal(first.history[3]?.created, first.history[2]?.created);
  assert.equal(first.created, first.history[3]?.created);
});

test('1.9 SOURCE_DATE_EPOCH: clamps config and history; something else than a number is refused', () => {
  const context = contextOf('FROM scratch\nCOPY f /\nENV A=1\n', { f: '' });
  const made = readImageConfig(space, context, '--build-arg', 'SOURCE_DATE_EPOCH=1000000000');
  const times = [made.created, ...made.history.map(({ created }) => created)];
  assert.deepEqual(times, ['2001-09-09T01:46:40Z', '2001-09-09T01:46:40Z', '2001-09-09T01:46:40Z']);
  assert.match(
    build('ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\n').stderr,
    /invalid SOURCE_DATE_EPOCH "soon"[\s\S]*Dockerfile:1/,
  );
});

test('1.9 rewrite-timestamp: file times are clamped while a layer is written', () => {
  const tar = join(space.directory, 'epoch.tar');
  const context = contextOf('FROM scratch\nCOPY f /d/\n', { f: '' });
  const epoch = 'SOURCE_DATE_EPOCH=1000000000';
  space.ok(['build', '-q', '--build-arg', epoch, '-o', `type=tar,dest=${tar}`, context]);
  const listing = execFileSync('tar', ['-tvf', tar], { encoding: 'utf8', env: { TZ: 'UTC' } });
  assert.equal(listing.match(/ 2001-09-09 01:46 /g)?.length, 2);
});

test('1.9 Layer tar: sorted, directories first, no ./, whiteouts', () => {
  const context = contextOf('FROM bb:1\nRUN mkdir -p /b/c && touch /b/c/f /a && rm /etc/group\n');
  const { layers, blobPath } = readImageConfig(space, context);
  const names = execFileSync('tar', ['-tf', blobPath(layers[1] ?? '')], { encoding: 'utf8' });
  assert.deepEqual(names.trim().split('\n'), ['a', 'b/', 'b/c/', 'b/c/f', 'etc/', 'etc/.wh.group']);
});

test('1.10 Output: local, tar, oci and docker in one build', () => {
  const context = contextOf('FROM scratch\nCOPY f /\n', { f: 'f' });
  const at = (name: string): string => join(space.directory, `out-${name}`);
  const outputs = [at('local'), `type=tar,dest=${at('t.tar')}`, `type=oci,dest=${at('o.tar')}`];
  outputs.push(`type=docker,dest=${at('d.tar')}`);
  space.ok(['build', '-q', ...outputs.flatMap((output) => ['-o', output]), context]);
  assert.ok(existsSync(join(at('local'), 'f')));
  const names = (name: string): string => execFileSync('tar', ['-tf', at(name)], { encoding: 'utf8' });
  assert.match(names('t.tar'), /^f$/m);
  assert.match(names('o.tar'), /^oci-layout$/m);
  assert.match(names('d.tar'), /^manifest\.json$/m);
});
