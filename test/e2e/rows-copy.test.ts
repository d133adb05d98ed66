/** COPY, ADD and USER row by row: each test is named after the rule of the Dockerfile semantics that it shows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCommands, type Commands } from './commands.ts';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

let space: Workspace;
let commands: Commands;
let serial = 0;

before(() => {
  space = openWorkspace();
  importBusybox(space);
  commands = startCommands(space.env);
});
after(() => {
  commands[Symbol.dispose]();
  space[Symbol.dispose]();
});

type Prepare = (context: string) => void;

/** `mode uid/gid` and what a link points at, by path, of everything in the built image. */
async function built(
  dockerfile: string,
  files: Readonly<Record<string, string>> = {},
  prepare: Prepare = () => undefined,
): Promise<ReadonlyMap<string, string>> {
  serial += 1;
  const context = space.context(`c${serial}`, { ...files, Dockerfile: dockerfile });
  prepare(context);
  const tar = join(space.directory, `out${serial}.tar`);
  await commands.ok(['build', '-q', '-o', `type=tar,dest=${tar}`, context], space.directory);
  const listing = execFileSync('tar', ['--numeric-owner', '-tvf', tar], { encoding: 'utf8' });
  return new Map(
    listing
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [, mode = '', owner = '', name = ''] = /^(\S+) +(\S+) +\S+ \S+ \S+ (.*)$/.exec(line) ?? [];
        const [path = '', target] = name.split(/ -> | link to /);
        const kind = name.includes(' link to ') ? ' hard' : '';
        return [
          path.replace(/\/$/, ''),
          `${mode} ${owner}${target === undefined ? '' : `${kind} ${target}`}`,
        ] as const;
      }),
  );
}

async function refused(
  dockerfile: string,
  files: Readonly<Record<string, string>> = {},
  prepare: Prepare = () => undefined,
): Promise<string> {
  serial += 1;
  const context = space.context(`c${serial}`, { ...files, Dockerfile: dockerfile });
  prepare(context);
  const ended = await commands.run(['build', '--progress', 'plain', context], space.directory);
  assert.equal(ended.code, 1, ended.stderr);
  return ended.stderr;
}

const S = 'FROM scratch\n';
const paths = (tree: ReadonlyMap<string, string>): string[] => [...tree.keys()].sort();

test('1.6 Sources: cleaned against the root of the context, one or more, JSON for spaces', async () => {
  const tree = await built(
    `${S}COPY ../../f /a/\nCOPY /f /b/\nCOPY ./d/../f /c/\nCOPY ["with space", "/d/"]\n`,
    {
      f: '',
      'd/x': '',
      'with space': '',
    },
  );
  assert.deepEqual(paths(tree), ['a', 'a/f', 'b', 'b/f', 'c', 'c/f', 'd', 'd/with space']);
  assert.match(await refused(`${S}COPY f\n`), /requires at least two arguments/);
});

test('1.6 Destination: relative to WORKDIR, parents made, the last of several sources stays', async () => {
  const tree = await built(`${S}WORKDIR /w\nCOPY f rel/deep/\nCOPY f .\nCOPY f g /x\n`, { f: 'f', g: 'gg' });
  assert.deepEqual(paths(tree), ['w', 'w/f', 'w/rel', 'w/rel/deep', 'w/rel/deep/f', 'x']);
});

test('1.6 Directory source: contents, dot files too; into a file it is refused', async () => {
  for (const name of ['d', 'd/', 'd/.'])
    assert.deepEqual(paths(await built(`${S}COPY ${name} /t\n`, { 'd/.dot': '', 'd/s/f': '' })), [
      't',
      't/.dot',
      't/s',
      't/s/f',
    ]);
  assert.match(await refused(`${S}COPY f /x\nCOPY d /x\n`, { f: '', 'd/f': '' }), /COPY_DESTINATION_INVALID/);
});

test('1.6 File source: into a directory under its name, else as the name, in the place of a file', async () => {
  assert.deepEqual(
    paths(await built(`${S}COPY f /d/\nCOPY f /d\nCOPY f /n\nCOPY g /n\n`, { f: '', g: 'g' })),
    ['d', 'd/f', 'n'],
  );
});

test('1.6 Wildcards: within one name, dot names too, none is no error, directories give their contents', async () => {
  const files = { a1: '', '.a2': '', 'd1/x': '', 'd2/y': '', 'sub/a3': '' };
  assert.deepEqual(paths(await built(`${S}COPY *a? /w/\n`, files)), ['w', 'w/.a2', 'w/a1']);
  assert.deepEqual(paths(await built(`${S}COPY d[1-2] /w/\nCOPY none* /nothing/\n`, files)), [
    'w',
    'w/x',
    'w/y',
  ]);
  assert.match(await refused(`${S}COPY nope /w/\n`, files), /COPY_SOURCE_NOT_FOUND/);
});

test('1.6 Symlinks in source: followed where named, kept within a directory, never out of the context', async () => {
  const links: Prepare = (context) => {
    symlinkSync('real', join(context, 'link'));
    symlinkSync('dir', join(context, 'dlink'));
    symlinkSync('nowhere', join(context, 'dir/inner'));
    symlinkSync('/real', join(context, 'absolute'));
  };
  const tree = await built(`${S}COPY link absolute /l/\nCOPY dlink /d\n`, { real: 'r', 'dir/f': '' }, links);
  assert.equal(tree.get('l/link'), '-rw-r--r-- 0/0');
  assert.equal(tree.get('l/absolute'), '-rw-r--r-- 0/0');
  assert.equal(tree.get('d/inner'), 'lrwxrwxrwx 0/0 nowhere');
  assert.match(
    await refused(`${S}COPY dangling /x\n`, {}, (context) =>
      symlinkSync('/etc/passwd', join(context, 'dangling')),
    ),
    /COPY_SOURCE_NOT_FOUND/,
  );
});

test('1.6 Symlinks in dest: followed inside the root file system', async () => {
  const tree = await built(
    `FROM bb:1\nRUN mkdir /t && ln -s t /s && ln -s /t/file /sf\nCOPY f /s/\nCOPY f /sf\n`,
    {
      f: '',
    },
  );
  assert.equal(tree.get('t/f'), '-rw-r--r-- 0/0');
  assert.equal(tree.get('t/file'), '-rw-r--r-- 0/0');
  assert.match(tree.get('s') ?? '', /^l/);
});

test('1.6 Preserved: modes, times, hard links within one source, fifos; sockets become empty files', async () => {
  const tree = await built(`${S}COPY d /d\n`, { 'd/f': 'x' }, (context) => {
    chmodSync(join(context, 'd/f'), 0o4750);
    linkSync(join(context, 'd/f'), join(context, 'd/g'));
    execFileSync('mkfifo', ['-m', '0640', join(context, 'd/p')]);
    execFileSync('python3', [
      '-c',
      'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])',
      join(context, 'd/s'),
    ]);
    utimesSync(join(context, 'd/f'), 1_000_000_000, 1_000_000_000);
  });
  assert.equal(tree.get('d/f'), '-rwsr-x--- 0/0');
  assert.equal(tree.get('d/g'), 'hrwsr-x--- 0/0 hard d/f');
  assert.equal(tree.get('d/p'), 'prw-r----- 0/0');
  assert.equal(tree.get('d/s'), '-rwxr-xr-x 0/0');
});

test('1.6 Ownership: files of the context belong to root, those of a stage keep their owners, USER does not matter', async () => {
  const tree = await built(
    'FROM bb:1 AS a\nRUN mkdir /o && touch /o/f && chown -R 5:6 /o\nFROM bb:1\nUSER bob\nCOPY f /ctx\nCOPY --from=a /o /o\n',
    { f: '' },
    (context) => chownSync(join(context, 'f'), 77, 88),
  );
  assert.equal(tree.get('ctx'), '-rw-r--r-- 0/0');
  assert.equal(tree.get('o/f'), '-rw-r--r-- 5/6');
});

test('1.6 Created dirs: 0755 of root, of --chown, with the mode of an octal --chmod', async () => {
  const tree = await built(`FROM bb:1\nCOPY f /a/b/\nCOPY --chown=bob f /c/d/\nCOPY --chmod=700 f /e/\n`, {
    f: '',
  });
  assert.deepEqual(
    ['a', 'c/d', 'e'].map((path) => tree.get(path)),
    ['drwxr-xr-x 0/0', 'drwxr-xr-x 1000/2000', 'drwx------ 0/0'],
  );
});

test('1.6 Existing dest dir: the top stays as it is, nested ones become as the source', async () => {
  const tree = await built(
    'FROM bb:1\nRUN mkdir -p -m 705 /n/sub && chmod 705 /n && chown -R 5:6 /n\nCOPY d /n\n',
    { 'd/sub/f': '' },
    (context) => chmodSync(join(context, 'd/sub'), 0o711),
  );
  assert.deepEqual([tree.get('n'), tree.get('n/sub')], ['drwx---r-x 5/6', 'drwx--x--x 0/0']);
});

test('1.6 --chown: names of the image, numbers, group alone, unknown names are root', async () => {
  const owners: readonly (readonly [string, string])[] = [
    ['bob', '1000/2000'],
    ['bob:', '1000/0'],
    ['bob:extra', '1000/3000'],
    [':extra', '0/3000'],
    ['1234', '1234/1234'],
    ['1234:5', '1234/5'],
    ['nobody-here', '0/0'],
  ];
  const tree = await built(
    `FROM bb:1\n${owners.map(([owner], index) => `COPY --chown=${owner} f /f${index}\n`).join('')}`,
    { f: '' },
  );
  for (const [index, [owner, wanted]] of owners.entries())
    assert.equal(tree.get(`f${index}`), `-rw-r--r-- ${wanted}`, owner);
  assert.match(await refused(`${S}COPY --chown=bob f /\n`, { f: '' }), /COPY_OWNER_UNKNOWN/);
});

test('1.6 --chmod: octal for files and directories, symbolic on the mode of the source', async () => {
  const tree = await built(
    `${S}COPY --chmod=0440 d /o\nCOPY --chmod=u+x,go-r d /s\nCOPY --chmod=a=rX d /x\n`,
    {
      'd/e/f': '',
    },
  );
  assert.deepEqual(
    ['o', 'o/e', 'o/e/f', 's/e/f', 'x/e', 'x/e/f'].map((path) => tree.get(path)?.slice(0, 10)),
    ['dr--r-----', 'dr--r-----', '-r--r-----', '-rwx------', 'dr-xr-xr-x', '-r--r--r--'],
  );
  assert.match(await refused(`${S}COPY --chmod=888 f /\n`, { f: '' }), /--chmod/);
});

test('1.6 --exclude: patterns below each source, taken back by !, nothing to a source that is a file', async () => {
  const files = { 'd/a': '', 'd/b.log': '', 'd/s/c.log': '', 'd/s/keep.log': '', f: '' };
  assert.deepEqual(paths(await built(`${S}COPY --exclude=**/*.log --exclude=!s/keep.log d /t\n`, files)), [
    't',
    't/a',
    't/s',
    't/s/keep.log',
  ]);
  assert.deepEqual(paths(await built(`${S}COPY --exclude=f f /\n`, files)), ['f']);
});

test('1.6 --parents: paths are kept from the pivot on, ** crosses directories', async () => {
  const files = { 'a/b/c/f': '', 'a/x/f': '' };
  assert.deepEqual(paths(await built(`${S}COPY --parents a/b/c/f /t/\n`, files)), [
    't',
    't/a',
    't/a/b',
    't/a/b/c',
    't/a/b/c/f',
  ]);
  assert.deepEqual(paths(await built(`${S}COPY --parents a/./b/c/f /t/\n`, files)), [
    't',
    't/b',
    't/b/c',
    't/b/c/f',
  ]);
  assert.deepEqual(
    paths(await built(`${S}COPY --parents a/**/f /t/\n`, files)).filter((path) => path.endsWith('/f')),
    ['t/a/b/c/f', 't/a/x/f'],
  );
});

test('1.6 --link: the layer does not depend on what is below, and survives another base', async () => {
  const build = (base: string): string => {
    const context = space.context(`link${base.length}`, {
      f: 'f',
      Dockerfile: `FROM bb:1\nRUN ${base}\nCOPY --link f /etc/new/\n`,
    });
    return space.ok(['build', '--progress', 'plain', context]).stderr;
  };
  build('true');
  assert.match(build('touch /other'), /COPY --link f \/etc\/new\/\n#\d+ CACHED/);
  const tree = await built('FROM bb:1\nRUN mkdir /t && ln -s t /s\nCOPY --link f /s/\n', { f: '' });
  assert.equal(tree.get('s'), 'drwxr-xr-x 0/0');
});

test('1.6 --from: stages by number and name, images', async () => {
  const tree = await built(
    'FROM scratch AS Named\nCOPY f /\nFROM scratch\nCOPY --from=0 /f /a\nCOPY --from=NAMED /f /b\nCOPY --from=bb:1 /etc/passwd /c\n',
    { f: '' },
  );
  assert.deepEqual(paths(tree), ['a', 'b', 'c']);
});

test('1.6 COPY of URL/git: refused, ADD is named', async () => {
  assert.match(await refused(`${S}COPY https://example.org/f /\n`), /can't be a URL[\s\S]*use ADD/);
  assert.match(await refused(`${S}COPY https://example.org/r.git /\n`), /can't be a git repository/);
});

test('1.6 Heredoc source: a file per heredoc, expanded unless quoted', async () => {
  const out = join(space.directory, 'heredoc');
  const context = space.context('heredoc-context', {
    Dockerfile: `${S}ENV V=value\nCOPY --chmod=600 <<a <<-"b" /d/\n$V\\n\na\n\t$V\n\tb\n`,
  });
  space.ok(['build', '-q', '-o', out, context]);
  const read = (name: string): string => execFileSync('cat', [join(out, 'd', name)], { encoding: 'utf8' });
  assert.deepEqual([read('a'), read('b')], ['valuen\n', '$V\n']);
});

test('1.6 ADD local tar: a damaged archive is an error, and is not put there as a file', async () => {
  const damage = (change: (bytes: Buffer) => Buffer): Prepare => {
    return (context) => {
      execFileSync('tar', ['-C', context, '-czf', join(context, 'a.tgz'), 'f']);
      writeFileSync(join(context, 'a.tgz'), change(readFileSync(join(context, 'a.tgz'))));
    };
  };
  const files = { f: 'f' };
  const checksum = damage((bytes) => bytes.fill(0xff, bytes.byteLength - 8, bytes.byteLength - 4));
  const followed = damage((bytes) => Buffer.concat([bytes, Buffer.from('garbage')]));
  assert.deepEqual(
    [
      ...(
        await built(
          `${S}ADD a.tgz /\n`,
          files,
          damage((bytes) => bytes),
        )
      ).keys(),
    ],
    ['f'],
  );
  assert.match(await refused(`${S}ADD a.tgz /\n`, files, checksum), /cannot unpack "a\.tgz"/);
  assert.match(await refused(`${S}ADD a.tgz /\n`, files, followed), /cannot unpack "a\.tgz"/);
});

test('1.6 ADD local tar: a plain archive that is read in several pieces is unpacked, or said to be cut', async () => {
  const pack = (size: number | undefined): Prepare => {
    return (context) => {
      execFileSync('tar', ['-C', context, '-cf', join(context, 'a.tar'), 'f', 'g']);
      truncateSync(join(context, 'a.tar'), size ?? statSync(join(context, 'a.tar')).size);
    };
  };
  const files = { f: 'f'.repeat(3_000_000), g: 'g' };
  const tree = await built(`${S}ADD a.tar /\n`, files, pack(undefined));
  assert.deepEqual(paths(tree), ['f', 'g']);
  assert.match(
    await refused(`${S}ADD a.tar /\n`, files, pack(2_000_000)),
    /cannot unpack "a\.tar": .*ends inside "f"/,
  );
});

test('1.6 ADD local tar: recognised by content, kept apart by --unpack=false, confined to the destination', async () => {
  const pack: Prepare = (context) => {
    mkdirSync(join(context, 'in/d'), { recursive: true });
    writeFileSync(join(context, 'in/d/f'), 'f');
    chownSync(join(context, 'in/d/f'), 5, 6);
    for (const [flag, name] of [
      ['-c', 'plain'],
      ['-cz', 'gz'],
      ['-cj', 'bz'],
      ['-cJ', 'xz'],
    ] as const)
      execFileSync('tar', ['-C', join(context, 'in'), flag, '-f', join(context, name), 'd']);
    execFileSync('tar', ['-C', join(context, 'in'), '--zstd', '-cf', join(context, 'zst'), 'd']);
    execFileSync('tar', [
      '-C',
      join(context, 'in'),
      '-P',
      '--transform=s,d/f,../../evil,',
      '-cf',
      join(context, 'evil'),
      'd/f',
    ]);
  };
  const tree = await built(
    `${S}${['plain', 'gz', 'bz', 'xz', 'zst'].map((name) => `ADD ${name} /${name}/\n`).join('')}ADD --unpack=false gz /kept/\nADD --chown=7:8 plain /owned/\nADD evil /a/b/\n`,
    {},
    pack,
  );
  for (const name of ['plain', 'gz', 'bz', 'xz', 'zst'])
    assert.equal(tree.get(`${name}/d/f`), '-rw-r--r-- 5/6', name);
  assert.equal(tree.get('kept/gz')?.slice(0, 1), '-');
  assert.equal(tree.get('owned/d/f'), '-rw-r--r-- 7/8');
  assert.ok(tree.has('a/b/evil') && !tree.has('evil'));
});

test('1.7 RUN: numbers need no passwd, names bring their groups, unknown names are an error', async () => {
  const run = (user: string): string => {
    const context = space.context(`user-${user.replace(/\W/g, '-')}`, {
      Dockerfile: `FROM bb:1\nUSER ${user}\nRUN id; echo "home=$HOME"\n`,
    });
    return space.tsbuild(['build', '--progress', 'plain', context]).stderr;
  };
  assert.match(run('1234'), /uid=1234 gid=0[\s\S]*home=\/\n/);
  assert.match(
    run('bob'),
    /uid=1000\(bob\) gid=2000\(bobs\) groups=2000\(bobs\),3000\(extra\)[\s\S]*home=\/home\/bob/,
  );
  assert.match(run('bob:0'), /uid=1000\(bob\) gid=0\(root\) groups=0\(root\)\n/);
  assert.match(run('nosuch'), /unable to find user "nosuch": no matching entries in passwd file/);
});

test('1.7 WORKDIR: directories belong to USER, an unknown one means root', async () => {
  const tree = await built(
    'FROM bb:1\nUSER bob\nWORKDIR /a/b\nUSER 1234:5\nWORKDIR /c\nUSER nosuch\nWORKDIR /d\n',
  );
  assert.deepEqual(
    ['a', 'a/b', 'c', 'd'].map((path) => tree.get(path)?.slice(11)),
    ['1000/2000', '1000/2000', '1234/5', '0/0'],
  );
});

test('1.7 COPY never uses USER.', async () => {
  assert.equal((await built('FROM bb:1\nUSER bob\nCOPY f /f\n', { f: '' })).get('f'), '-rw-r--r-- 0/0');
});
