/** A real Debian root: apt-get inside, and the same files as buildah makes. Needs Debian's mirror. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openWorkspace } from '../e2e/fixture.ts';

const hasMirror =
  spawnSync('apt-get', ['download', '--print-uris', 'hello'], { stdio: 'ignore' }).status === 0;

/** What differs between any two runs: times in logs, caches of apt and ldconfig, what runtimes leave behind. */
const VOLATILE =
  /^\.?\/?(var\/cache\/|var\/log\/|etc\/(hosts|resolv\.conf|hostname)$|run\/|dev\/|proc\/|sys\/|var\/lib\/apt\/lists)/;

/** `type mode owner size link` by path, with file contents as digests. */
function listing(tar: string): ReadonlyMap<string, string> {
  const script = `
import tarfile, hashlib, sys
t = tarfile.open(sys.argv[1])
for m in t:
    body = hashlib.sha256(t.extractfile(m).read()).hexdigest() if m.isreg() else ''
    caps = m.pax_headers.get('SCHILY.xattr.security.capability', '')
    name = m.name[2:] if m.name.startswith('./') else m.name
    kind = b'0' if m.islnk() else m.type
    if m.islnk(): body = hashlib.sha256(t.extractfile(m).read()).hexdigest()
    mode = 0o777 if m.issym() else m.mode
    print('\\t'.join([name, repr(kind), oct(mode), str(m.uid), str(m.gid), m.linkname if m.issym() else '', str(m.devmajor), str(m.devminor), body, caps.encode('utf-8', 'surrogateescape').hex()]))
`;
  const output = execFileSync('python3', ['-c', script, tar], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return new Map(
    output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf('\t')), line.slice(line.indexOf('\t'))] as const)
      .filter(([name]) => !VOLATILE.test(name) && name !== '.' && name !== ''),
  );
}

test('apt-get install gives the same tree as buildah does', {
  skip: hasMirror ? false : 'no Debian mirror',
  timeout: 280_000,
}, () => {
  using space = openWorkspace();
  const base = join(space.directory, 'base.tar');
  execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', 'bookworm', base], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  space.ok(['import', '--progress', 'quiet', base, 'deb:1']);
  const run = 'RUN apt-get update && apt-get install -y --no-install-recommends iputils-ping less procps\n';
  const ours = join(space.directory, 'ours.tar');
  const context = space.context('apt', { Dockerfile: `FROM deb:1\n${run}` });
  space.ok(['-t', 'apt', '-q', '-o', `type=tar,dest=${ours}`, context]);
  assert.match(space.ok(['run', '--rm', 'apt', 'less', '--version']).stdout, /^less \d+/);

  const storage = [
    '--root',
    join(space.directory, 'storage'),
    '--runroot',
    join(space.directory, 'run'),
    '--storage-driver',
    'vfs',
  ];
  const theirContext = join(space.directory, 'theirs');
  mkdirSync(theirContext);
  linkSync(base, join(theirContext, 'base.tar'));
  writeFileSync(join(theirContext, 'Dockerfile'), `FROM scratch\nADD base.tar /\n${run}`);
  const theirs = join(space.directory, 'theirs.tar');
  execFileSync(
    'buildah',
    [...storage, 'build', '-q', '--isolation', 'chroot', '--network', 'host', '-t', 'apt:1', theirContext],
    { stdio: 'pipe' },
  );
  execFileSync(
    'sh',
    [
      '-c',
      `c=$(buildah ${storage.join(' ')} from --pull=never localhost/apt:1) && m=$(buildah ${storage.join(' ')} mount $c) && tar -C "$m" --xattrs --xattrs-include=security.capability --format=pax -cf ${theirs} .`,
    ],
    { stdio: 'pipe' },
  );

  const [a, b] = [listing(ours), listing(theirs)];
  const differing = [...new Set([...a.keys(), ...b.keys()])]
    .filter((name) => a.get(name) !== b.get(name))
    .map((name) => `${name}: ${a.get(name) ?? 'missing'} | ${b.get(name) ?? 'missing'}`);
  assert.deepEqual(differing, []);
  assert.ok(a.size > 3000);
});
