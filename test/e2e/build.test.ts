import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { CLI, importBusybox, leftovers, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
before(() => {
  space = openWorkspace();
  importBusybox(space);
});
after(() => {
  assert.deepEqual(leftovers(space.root), []);
  space[Symbol.dispose]();
});

const APP = {
  Dockerfile: `FROM bb:1 AS build
WORKDIR /src
COPY lib ./lib
COPY main.sh .
RUN cat lib/*.sh main.sh > /app.sh && chmod 755 /app.sh
FROM bb:1
COPY --from=build --chown=bob /app.sh /usr/bin/app
USER bob
ENV GREETING=hello
CMD ["app"]
`,
  'lib/a.sh': '#!/bin/sh\nname=$(id -un)\n',
  'main.sh': 'echo "$GREETING $name"\n',
  '.dockerignore': '*.log\n',
};

function counts(stderr: string): string {
  return /\((\d+ executed, \d+ cached)\)/.exec(stderr)?.[1] ?? stderr;
}

test('a multi-stage build runs, is cached whole, and after an edit executes what comes after the COPY alone', () => {
  const context = space.context('app', APP);
  const first = space.ok(['-t', 'app:1', '--progress', 'plain', context]);
  assert.equal(counts(first.stderr), '5 executed, 0 cached');
  assert.equal(space.ok(['run', '--rm', 'app:1']).stdout, 'hello bob\n');
  const second = space.ok(['build', '-t', 'app:1', '--progress', 'plain', context]);
  assert.equal(counts(second.stderr), '0 executed, 5 cached');
  writeFileSync(join(context, 'main.sh'), 'echo "$GREETING, $name"\n');
  const third = space.ok(['-t', 'app:1', '--progress', 'plain', context]);
  assert.equal(counts(third.stderr), '3 executed, 2 cached');
  assert.equal(space.ok(['run', 'app:1']).stdout, 'hello, bob\n');
});

test('files of two COPYs that follow each other are read once', () => {
  const context = space.context('read-once', { Dockerfile: 'FROM scratch\nCOPY a /a\nCOPY b /b\n' });
  const size = 24 << 20;
  for (const name of ['a', 'b']) writeFileSync(join(context, name), randomBytes(size));
  // What a process has read includes what its children did.
  const script = `${process.execPath} ${CLI} -q ${context} && grep rchar /proc/$$/io`;
  const said = execFileSync('sh', ['-c', script], {
    env: { ...space.env, TSBUILD_ROOT: join(space.directory, 'once') },
  });
  const read = Number(/rchar: (\d+)/.exec(said.toString())?.[1]);
  assert.ok(read > 2 * size && read < 2.6 * size, `${read} bytes of ${2 * size} were read`);
});

test('a cached COPY does not look into the layer below it', () => {
  const context = space.context('below', { Dockerfile: 'FROM scratch\nCOPY a /a\nCOPY b /b\n' });
  for (const name of ['a', 'b']) writeFileSync(join(context, name), randomBytes(3 << 20));
  const root = join(space.directory, 'below-state');
  const build = ['--root', root, '--progress', 'plain', context];
  space.ok(build);
  // As on a machine that took over the layers alone.
  for (const name of ['snapshots', 'stat-cache', 'unchanged'])
    rmSync(join(root, name), { recursive: true, force: true });
  for (const path of readdirSync(join(root, 'layers'), { recursive: true, encoding: 'utf8' }))
    if (path.endsWith('.tar')) truncateSync(join(root, 'layers', path), 100);
  assert.equal(counts(space.ok(build).stderr), '0 executed, 2 cached');
});

test('times of files and ignored files do not make a COPY execute', () => {
  const context = space.context('times', {
    Dockerfile: 'FROM bb:1\nCOPY . /x\n',
    a: 'a',
    'b.log': '1',
    '.dockerignore': '*.log\n',
  });
  space.ok(['-q', context]);
  utimesSync(join(context, 'a'), 1e9, 1e9);
  writeFileSync(join(context, 'b.log'), '2');
  assert.equal(counts(space.ok(['--progress', 'plain', context]).stderr), '0 executed, 1 cached');
});

test('a RUN that fails shows its line, its output and exits with 1', () => {
  const context = space.context('fails', {
    Dockerfile: 'FROM bb:1\nRUN true\nRUN echo broken >&2; exit 3\n',
  });
  const { code, stderr } = space.tsbuild(['--progress', 'plain', '-t', 'never', context]);
  assert.equal(code, 1);
  assert.match(stderr, /error: RUN exited with code 3 \[RUN_FAILED\]/);
  assert.match(stderr, /Dockerfile:3:1/);
  assert.match(stderr, /> {2}3 \| RUN echo broken >&2; exit 3/);
  assert.match(stderr, /last output: broken/);
  assert.equal(space.tsbuild(['inspect', 'never']).code, 1);
});

const REFUSED: readonly (readonly [name: string, dockerfile: string, expected: RegExp])[] = [
  [
    'an unknown instruction',
    'FROM bb:1\nRUM echo\n',
    /unknown instruction "RUM" \[INSTRUCTION_UNKNOWN\][\s\S]*Dockerfile:2:1[\s\S]*did you mean RUN/,
  ],
  [
    'a missing source',
    'FROM bb:1\nCOPY nofile /x\n',
    /cannot find "nofile" in the build context \[COPY_SOURCE_NOT_FOUND\][\s\S]*Dockerfile:2:6/,
  ],
  ['a bad base name', 'FROM a:b:c\n', /\[REFERENCE_INVALID\][\s\S]*Dockerfile:1:6/],
  [
    'an unknown flag',
    'FROM bb:1\nCOPY --fro=x a b\n',
    /unknown flag "--fro"[\s\S]*Dockerfile:2:6[\s\S]*did you mean --from/,
  ],
  [
    'an unknown user',
    'FROM bb:1\nUSER nobody7\nRUN id\n',
    /unable to find user "nobody7"[\s\S]*Dockerfile:3:1/,
  ],
  [
    'a later stage',
    'FROM bb:1 AS first\nCOPY --from=later /a /b\nFROM bb:1 AS later\nFROM first\n',
    /\[STAGE_INVALID\][\s\S]*Dockerfile:2:6/,
  ],
  [
    'an unset required variable',
    'FROM bb:1\nENV A="${X:?is needed}"\n',
    /X: is needed \[EXPANSION_FAILED\][\s\S]*Dockerfile:2:7/,
  ],
  ['no stage at all', '# nothing\n', /has no instructions \[DOCKERFILE_SYNTAX\]/],
];
for (const [name, dockerfile, expected] of REFUSED)
  test(`${name} is an error that shows the line`, () => {
    const context = space.context(`refused-${name.replaceAll(' ', '-')}`, { Dockerfile: dockerfile });
    const { code, stderr } = space.tsbuild(['--progress', 'plain', context]);
    assert.equal(code, 1);
    assert.match(stderr, expected);
  });

test('usage errors exit with 2 and say what was meant', () => {
  const { code, stderr } = space.tsbuild(['build', '--tga', 'x', '.']);
  assert.equal(code, 2);
  assert.match(stderr, /unknown flag "--tga"[\s\S]*did you mean --tag/);
  assert.equal(space.tsbuild(['build']).code, 2);
});

test('layers have the same digests in two empty roots an hour apart', () => {
  const context = space.context('determinism', { ...APP, 'lib/b.sh': 'true\n' });
  const digests = ['2030-01-01 10:00:00', '2030-01-01 11:00:00'].map((time, index) => {
    const root = join(space.directory, `root-${index}`);
    const run = (args: readonly string[]): string =>
      execFileSync('faketime', ['-f', time, process.execPath, CLI, ...args], {
        encoding: 'utf8',
        // why: the clock that timers go by would stand still, too; whoever waits for a lock would wait for ever.
        env: {
          ...process.env,
          TSBUILD_ROOT: root,
          DONT_FAKE_MONOTONIC: '1',
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    run(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1']);
    run(['-q', '-t', 'd', '--target', 'build', '--build-arg', 'SOURCE_DATE_EPOCH=1700000000', context]);
    return JSON.stringify((JSON.parse(run(['inspect', 'd'])) as { RootFS: unknown }[])[0]?.RootFS);
  });
  assert.equal(digests[0], digests[1]);
});

test('with SOURCE_DATE_EPOCH whole images are the same, RUN and import included', () => {
  const context = space.context('epoch', {
    Dockerfile: 'FROM bb:1\nRUN date > /dev/null; mkdir /d && touch /d/f\nWORKDIR /w\n',
  });
  const ids = [0, 1].map((index) => {
    const options = {
      env: { TSBUILD_ROOT: join(space.directory, `epoch-${index}`), SOURCE_DATE_EPOCH: '1600000000' },
    };
    space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], options);
    execFileSync('sleep', ['1']);
    return space.ok(['-q', context], options).stdout;
  });
  assert.equal(ids[0], ids[1]);
});

test('an OCI layout is read by skopeo and unpacked by umoci', () => {
  const context = space.context('layout', APP);
  const out = join(space.directory, 'layout-out');
  space.ok(['-q', '-t', 'app:2', '--output', `type=oci,dest=${out}`, context]);
  const inspected = JSON.parse(execFileSync('skopeo', ['inspect', `oci:${out}:2`], { encoding: 'utf8' })) as {
    Env: string[];
  };
  assert.ok(inspected.Env.includes('GREETING=hello'));
  const bundle = join(space.directory, 'bundle');
  execFileSync('umoci', ['unpack', '--image', `${out}:2`, bundle], { stdio: 'pipe' });
  const file = join(bundle, 'rootfs/usr/bin/app');
  assert.equal(statSync(file).uid, 1000);
  assert.match(readFileSync(file, 'utf8'), /GREETING/);
});

test('a layout as tar, a docker archive and a file system tar are what others read', () => {
  const context = space.context('archives', APP);
  const [oci, docker, tar] = ['oci.tar', 'docker.tar', 'files.tar'].map((name) =>
    join(space.directory, name),
  );
  space.ok([
    '-q',
    '-t',
    'app:3',
    '-o',
    `type=oci,dest=${oci}`,
    '-o',
    `type=docker,dest=${docker}`,
    '-o',
    `type=tar,dest=${tar}`,
    context,
  ]);
  assert.match(
    execFileSync('skopeo', ['inspect', `oci-archive:${oci}`], { encoding: 'utf8' }),
    /GREETING=hello/,
  );
  assert.match(
    execFileSync('skopeo', ['inspect', `docker-archive:${docker}`], { encoding: 'utf8' }),
    /GREETING=hello/,
  );
  assert.match(execFileSync('tar', ['-tvf', tar ?? ''], { encoding: 'utf8' }), /1000\/2000 .* usr\/bin\/app/);
});

test('type=local writes the files, iidfile and metadata-file what was built', () => {
  const context = space.context('local', APP);
  const out = join(space.directory, 'local-out');
  const iidfile = join(space.directory, 'iid');
  const metadata = join(space.directory, 'metadata.json');
  space.ok(['-q', '-t', 'app:4', '-o', out, '--iidfile', iidfile, '--metadata-file', metadata, context]);
  assert.equal(statSync(join(out, 'usr/bin/app')).uid, 1000);
  const id = readFileSync(iidfile, 'utf8');
  assert.match(id, /^sha256:[0-9a-f]{64}$/);
  assert.equal(
    (JSON.parse(readFileSync(metadata, 'utf8')) as Record<string, string>)['containerimage.config.digest'],
    id,
  );
});

test('a failed build leaves no output behind', () => {
  const context = space.context('no-output', { Dockerfile: 'FROM bb:1\nRUN false\n' });
  const out = join(space.directory, 'no-output.tar');
  assert.equal(space.tsbuild(['-q', '-o', `type=oci,dest=${out}`, context]).code, 1);
  assert.deepEqual(
    readdirSync(space.directory).filter((name) => name.includes('no-output.tar')),
    [],
  );
});

test('save and load carry an image to another root', () => {
  const context = space.context('save', APP);
  space.ok(['-q', '-t', 'saved:1', context]);
  const archive = join(space.directory, 'saved.tar');
  space.ok(['save', '-o', archive, 'saved:1']);
  const other = { env: { TSBUILD_ROOT: join(space.directory, 'other-root') } };
  assert.match(space.ok(['load', '-i', archive], other).stdout, /Loaded image: saved:1/);
  assert.equal(space.ok(['run', 'saved:1'], other).stdout, 'hello bob\n');
  const id = (root: { readonly env?: NodeJS.ProcessEnv }): string =>
    (JSON.parse(space.ok(['inspect', 'saved:1'], root).stdout) as { Id: string }[])[0]?.Id ?? '';
  assert.equal(id(other), id({}));
});

test('save of an image under two names wrote it twice', () => {
  const context = space.context('save-names', { Dockerfile: 'FROM bb:1\nLABEL two=names\n' });
  space.ok(['-q', '-t', 'twice:1', '-t', 'twice:2', context]);
  const archive = join(space.directory, 'twice.tar');
  space.ok(['save', '-o', archive, 'twice:1', 'bb:1', 'twice:2', 'twice:1']);
  const manifest = execFileSync('tar', ['-xOf', archive, 'manifest.json'], { encoding: 'utf8' });
  assert.deepEqual(
    (JSON.parse(manifest) as { RepoTags: string[] }[]).map(({ RepoTags }) => RepoTags),
    [['twice:1', 'twice:2'], ['bb:1']],
  );
});

test('rmi ended at the first name that is not there, and failed with -f', () => {
  space.ok(['tag', 'bb:1', 'gone:1']);
  space.ok(['tag', 'bb:1', 'gone:2']);
  const mixed = space.tsbuild(['rmi', 'gone:1', 'never-there', 'gone:2']);
  assert.deepEqual([mixed.code, mixed.stdout], [1, 'Untagged: gone:1\nUntagged: gone:2\n']);
  const forced = space.tsbuild(['rmi', '-f', 'never-there']);
  assert.equal(forced.code, 0);
  assert.match(forced.stderr, /no such image: "never-there"/);
});

test('inspect knows the fields of an image that docker leaves out where they are empty', () => {
  assert.equal(space.ok(['inspect', '-f', '<{{.Variant}}{{.OsVersion}}>', 'bb:1']).stdout, '<>\n');
  assert.doesNotMatch(space.ok(['inspect', 'bb:1']).stdout, /Variant|OsVersion/);
});

test('images, tag, history and rmi show and change names', () => {
  const context = space.context('names', { Dockerfile: 'FROM bb:1\nLABEL a=b\nRUN touch /f\n' });
  space.ok(['-q', '-t', 'names:1', context]);
  space.ok(['tag', 'names:1', 'names:2']);
  assert.match(space.ok(['images']).stdout, /^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n[\s\S]*names +2 /);
  const history = space.ok(['history', '--no-trunc', 'names:1']).stdout;
  assert.match(history, /RUN \/bin\/sh -c touch \/f # buildkit[\s\S]*LABEL a=b/);
  assert.match(space.ok(['rmi', 'names:1']).stdout, /^Untagged: names:1\n$/);
  assert.match(space.ok(['rmi', 'names:2']).stdout, /Untagged: names:2\nDeleted: sha256:/);
  assert.equal(space.tsbuild(['inspect', 'names:2']).code, 1);
});

test('plain progress prefixes every line of a step with its number', () => {
  const context = space.context('plain', {
    Dockerfile: 'FROM bb:1\nRUN echo one; echo two >&2; printf three\n',
  });
  const { stderr } = space.ok(['--no-cache', '--progress', 'plain', context]);
  for (const word of ['one', 'two', 'three'])
    assert.match(stderr, new RegExp(`^#\\d+ \\d+\\.\\d{3} ${word}$`, 'm'));
  assert.match(stderr, /^#\d+ \[2\/2\] RUN echo one/m);
});

test('json progress is one event a line', () => {
  const context = space.context('json', { Dockerfile: 'FROM bb:1\nRUN echo logged\n' });
  const events = space
    .ok(['--no-cache', '--progress', 'json', context])
    .stderr.trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; data?: string });
  assert.ok(
    events.some(
      ({ kind, data }) => kind === 'log' && Buffer.from(data ?? '', 'base64').toString() === 'logged\n',
    ),
  );
});

test('mount points of RUN leave nothing in the layer', () => {
  const context = space.context('mounts', {
    Dockerfile: `FROM bb:1
RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c --mount=type=bind,target=/b ls /b/Dockerfile && touch /c/x /t/y
RUN --mount=type=secret,id=s,target=/run/s cat /run/s > /dev/null; echo done > /done
`,
  });
  writeFileSync(join(space.directory, 'secret'), 'hidden-word');
  const out = join(space.directory, 'mounts-out');
  space.ok(['-q', '--secret', `id=s,src=${join(space.directory, 'secret')}`, '-o', out, context]);
  assert.deepEqual(readdirSync(out).toSorted(), ['bin', 'done', 'etc', 'tmp']);
  assert.equal(spawnSync('grep', ['-rl', 'hidden-word', space.root]).stdout.toString(), '');
});

test('system check finds damage that was made', () => {
  const context = space.context('damage', { Dockerfile: 'FROM bb:1\nRUN echo damage-me > /f\n' });
  const root = join(space.directory, 'damage-root');
  const other = { env: { TSBUILD_ROOT: root } };
  space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], other);
  space.ok(['-q', context], other);
  assert.match(space.ok(['system', 'check'], other).stdout, /no damage/);
  const tars = execFileSync('find', [join(root, 'layers'), '-name', '*.tar'], { encoding: 'utf8' })
    .trim()
    .split('\n');
  writeFileSync(tars[0] ?? '', 'damaged');
  const { code, stdout } = space.tsbuild(['system', 'check'], other);
  assert.equal(code, 1);
  assert.match(stdout, /damage: layer sha256:[0-9a-f]{64} has another content/);
});

test('system check has the disk catch up with what killed commands noted, and trusts nothing of an earlier boot', () => {
  const context = space.context('left-notes', { Dockerfile: 'FROM bb:1\nRUN echo left > /f\n' });
  const root = join(space.directory, 'left-root');
  const other = { env: { TSBUILD_ROOT: root } };
  space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], other);
  space.ok(['-q', context], other);
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const ofUnusedDriver = join(root, 'snapshots/elsewhere/unsynced/earlier-boot/b.1.0.1');
  const alive = `c.1.${readFileSync('/proc/1/stat', 'utf8').split(') ')[1]?.split(' ')[19] ?? ''}.1`;
  const directory = join(root, 'layers/unsynced', boot);
  mkdirSync(dirname(ofUnusedDriver), { recursive: true });
  const ofNetwork = join(root, 'networks/n/leases/.1.0.1.tmp');
  mkdirSync(dirname(ofNetwork), { recursive: true });
  for (const note of [join(directory, 'a.1.0.1'), ofUnusedDriver, join(directory, alive), ofNetwork])
    writeFileSync(note, '');
  assert.match(space.ok(['system', 'check'], other).stdout, /no damage/);
  assert.deepEqual(readdirSync(directory), [alive]);
  assert.ok(existsSync(ofUnusedDriver));
  assert.ok(!existsSync(ofNetwork));
});

test('a step that makes directories as deep as it can harms nobody', () => {
  const dive =
    'cd /tmp; mkdir a; i=0; while [ $i -lt 2500 ]; do mkdir b && mv a b/a && mv b a; i=$((i+1)); done';
  const [root, failing, next] = [
    join(space.directory, 'deep-root'),
    space.context('deep', { Dockerfile: `FROM bb:1\nRUN mkdir -p /tmp; ${dive}; exit 7\n` }),
    space.context('deep-next', { Dockerfile: 'FROM bb:1\nRUN echo next > /f\n' }),
  ];
  const other = { env: { TSBUILD_ROOT: root } };
  space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], other);
  const failed = space.tsbuild([failing], other);
  assert.match(failed.stderr, /RUN exited with code 7/);
  const { code } = space.tsbuild(
    ['run', '--rm', '--network', 'none', 'bb:1', 'sh', '-c', `mkdir -p /tmp; ${dive}`],
    other,
  );
  assert.equal(code, 0);
  space.ok(['-q', next], other);
  assert.match(space.ok(['system', 'check'], other).stdout, /no damage/);
});

test('a file with the name of a deletion is refused by COPY, however many there are', () => {
  const context = space.context('deletion', {
    Dockerfile: 'FROM bb:1\nRUN mkdir /q && echo 1 > /q/keep\nCOPY d /q/\n',
    'd/.wh.keep': '',
    ...Object.fromEntries(Array.from({ length: 1500 }, (_, at) => [`d/f${at}`, ''])),
  });
  const { code, stderr } = space.tsbuild(['-q', context]);
  assert.equal(code, 1);
  assert.match(stderr, /"\/q\/\.wh\.keep" would be a name that means a deletion/);
  assert.match(stderr, /Dockerfile:3:1/);
  writeFileSync(join(context, '.dockerignore'), '**/.wh.*\n');
  space.ok(['-q', context]);
});

test('a state root that cannot be made is an error at once', () => {
  const context = space.context('no-root', { Dockerfile: 'FROM scratch\n' });
  const { code, stderr } = space.tsbuild(['--root', '/proc/nowhere/root', context]);
  assert.equal(code, 1);
  assert.match(stderr, /cannot use the state root "\/proc\/nowhere\/root"/);
  // A cache fails no build, and does not hold it up.
  space.ok(['-q', '--cache-to', 'type=local,dest=/proc/nowhere/cache', context]);
});

test('a disk that is full is an error that says so, and nothing is half-written', () => {
  const small = join(space.directory, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small]);
  try {
    const other = { env: { TSBUILD_ROOT: join(small, 'state') } };
    space.ok(['import', '--progress', 'quiet', join(space.directory, 'busybox.tar'), 'bb:1'], other);
    const context = space.context('full', {
      Dockerfile: 'FROM bb:1\nCOPY big /big\nRUN true\n',
      big: 'x'.repeat(9 << 20),
    });
    const { code, stderr } = space.tsbuild(['-q', '-t', 'full', context], other);
    assert.equal(code, 1);
    assert.match(stderr, /no space left on device below "[^"]+" \[DISK_FULL\]/);
    assert.match(stderr, /Dockerfile:2:1/);
    execFileSync('tar', ['-C', context, '-cf', join(context, 'big.tar'), 'big']);
    writeFileSync(join(context, 'Dockerfile'), 'FROM bb:1\nADD big.tar /\n');
    const added = space.tsbuild(['-q', '-t', 'full', context], other);
    assert.equal(added.code, 1);
    assert.match(added.stderr, /no space left on device below "[^"]+" \[DISK_FULL\]/);
    assert.match(space.ok(['system', 'check'], other).stdout, /no damage/);
    assert.deepEqual(
      existsSync(join(small, 'state/layers/partial')) ? readdirSync(join(small, 'state/layers/partial')) : [],
      [],
    );
  } finally {
    execFileSync('umount', [small]);
  }
});
