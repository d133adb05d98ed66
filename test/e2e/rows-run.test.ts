/** RUN row by row: each test is named after the rule of the Dockerfile semantics that it shows. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
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

function contextOf(dockerfile: string): string {
  serial += 1;
  return space.context(`r${serial}`, { Dockerfile: dockerfile });
}

function build(dockerfile: string, ...args: string[]): Ended {
  return space.tsbuild(['build', '--progress', 'plain', ...args, contextOf(dockerfile)]);
}

/** What the steps printed, without the marks of the progress. */
function printed({ stderr, code }: Ended): string {
  assert.equal(code, 0, stderr);
  return [...stderr.matchAll(/^#\d+ \d+\.\d+ (.*)$/gm)].map(([, line = '']) => line).join('\n');
}

test('1.5 Shell/exec: HOME and PATH, no HOSTNAME, umask, capabilities, masked and read-only places', () => {
  const output = printed(
    build(`FROM bb:1
RUN env | sort; umask; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; pwd
RUN ["/bin/sh", "-c", "echo exec $0 $HOME"]
USER 4242
RUN grep CapEff /proc/self/status; test ! -w /sys && test ! -w /proc/sys
`),
  );
  const lines = [
    /^HOME=\/root$/m,
    /^PATH=\/usr\/local\/sbin/m,
    /^0022$/m,
    /^CapEff:\s00000000a80425fb$/m,
    /^NoNewPrivs:\s0$/m,
    /^Seccomp:\s2$/m,
    /^exec \/bin\/sh \/root$/m,
    /^CapEff:\s0000000000000000$/m,
  ];
  for (const line of lines) assert.match(output, line);
  assert.doesNotMatch(output, /HOSTNAME=|TERM=|USER=/);
});

test('USER: what a step writes into passwd holds from the next one on, also where that has become a link', () => {
  const dockerfile = `FROM bb:1
RUN echo untouched > /file
RUN echo 'ann:x:7:8::/home/ann:/bin/sh' >> /etc/passwd
USER ann
RUN echo 1 $(id -u):$(id -g) $HOME
USER root
RUN mv /etc/passwd /users && ln -s ../users /etc/passwd
RUN sed -i s/:7:8:/:9:10:/ /users
USER ann
RUN echo 2 $(id -u):$(id -g) $HOME
USER root
RUN rm /users
USER 0
RUN echo 3 $(id -u) $HOME
`;
  assert.equal(printed(build(dockerfile)), ['1 7:8 /home/ann', '2 9:10 /home/ann', '3 0 /root'].join('\n'));
});

test('1.5 Heredoc: content for the shell, a script with #!, several ones as they are', () => {
  const dockerfile = `FROM bb:1
RUN <<EOF
echo one
echo two
EOF
RUN <<-EOF
	echo tabbed
EOF
RUN <<"script"
#!/bin/awk -f
BEGIN { print "awk" }
script
RUN cat <<A && cat <<'B'
$HOME
A
$HOME
B
`;
  assert.equal(printed(build(dockerfile)), ['one', 'two', 'tabbed', 'awk', '/root', '$HOME'].join('\n'));
  assert.deepEqual(
    readImageConfig(space, contextOf(dockerfile))
      .history.slice(1)
      .map(({ created_by }) => created_by),
    [
      'RUN /bin/sh -c echo one\necho two\n # buildkit',
      'RUN /bin/sh -c echo tabbed\n # buildkit',
      'RUN /bin/sh -c /dev/pipes/script # buildkit',
      "RUN /bin/sh -c cat <<A && cat <<'B'\n$HOME\nA\n$HOME\nB # buildkit",
    ],
  );
});

test('1.5 Failure: the exit code, the last output, the place', () => {
  const ended = build('FROM bb:1\nRUN echo before; \\\n  exit 3\n');
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /RUN exited with code 3[\s\S]*Dockerfile:2:1[\s\S]*last output: before/);
});

test('1.5 Empty result: a RUN that changes nothing has an empty layer of its own', () => {
  const { rootfs, history } = readImageConfig(space, contextOf('FROM bb:1\nRUN true\n'));
  assert.equal(rootfs.diff_ids[1], 'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef');
  assert.equal(history[1]?.empty_layer, undefined);
});

test('1.5 Sandbox files: hosts, resolv.conf and hostname are there, and no trace of mounts in the layer', () => {
  const dockerfile = `FROM bb:1
RUN --mount=type=tmpfs,target=/deep/er cat /etc/hosts; hostname; test -r /etc/resolv.conf; touch /made
`;
  const output = printed(build(dockerfile, '--add-host', 'extra:10.1.2.3'));
  assert.match(output, /^127\.0\.0\.1\s+localhost buildkitsandbox$/m);
  assert.match(output, /^10\.1\.2\.3\s+extra$/m);
  assert.match(output, /^buildkitsandbox$/m);
  const named = build('FROM bb:1\nRUN hostname\n', '--build-arg', 'BUILDKIT_SANDBOX_HOSTNAME=mine');
  assert.match(printed(named), /^mine$/m);
  const tar = join(space.directory, 'sandbox.tar');
  space.ok(['build', '-q', '-o', `type=tar,dest=${tar}`, contextOf(dockerfile)]);
  const names = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).split('\n');
  assert.ok(names.includes('made'));
  assert.ok(!names.some((name) => /^(deep|etc\/hosts|etc\/resolv|etc\/hostname)/.test(name)));
});

test('1.5 --mount generic: keys, aliases, relative targets, variables, what is wrong', () => {
  const relative =
    'FROM bb:1\nWORKDIR /w\nARG T=sub\nRUN --mount=type=tmpfs,dst=$T mount | grep -c "on /w/sub type tmpfs"\n';
  assert.match(printed(build(relative)), /^1$/m);
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['tgt=/x', /unexpected key "tgt"[\s\S]*did you mean/],
    ['type=foo,target=/x', /unsupported mount type "foo"/],
    ['type=bind,target=/x,required', /unexpected key "required" for mount type "bind"/],
    ['type=tmpfs,target=/', /invalid mount target "\/"/],
    ['type=tmpfs,target=/x,size=abc', /invalid value "abc" for size/],
    ['type=cache,target=/x,sharing=bad', /unsupported sharing value "bad"/],
    ['from=$X,target=/x', /does not support variables/],
  ];
  for (const [flag, message] of wrong)
    assert.match(build(`FROM bb:1\nRUN --mount=${flag} true\n`).stderr, message, flag);
});

test('1.5 type=tmpfs: writable, bounded, gone afterwards', () => {
  const dockerfile = `FROM bb:1
RUN --mount=type=tmpfs,target=/t,size=1m dd if=/dev/zero of=/t/x bs=1M count=2 2>/dev/null || echo full
RUN test ! -e /t && echo gone
`;
  assert.match(printed(build(dockerfile)), /full\ngone/);
});

test('1.5 --network: none has loopback alone, other words are refused', () => {
  assert.equal(printed(build('FROM bb:1\nRUN --network=none ls /sys/class/net\n')), 'lo');
  assert.match(build('FROM bb:1\nRUN --network=foo true\n').stderr, /invalid network mode "foo"/);
});

test('1.5 --device is not there, and says so', () => {
  assert.match(build('FROM bb:1\nRUN --device=vendor.com/x=y true\n').stderr, /unknown flag "--device"/);
});

test('1.5 Resources: --ulimit and --shm-size reach the step and do not count for its key', () => {
  const dockerfile = 'FROM bb:1\nRUN ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1\n';
  const output = printed(build(dockerfile, '--ulimit', 'nofile=100:200', '--shm-size', '1m'));
  assert.match(output, /^100\n200\n\S+\s+1024\s/m);
  assert.match(build(dockerfile).stderr, /\(0 executed/);
  assert.match(build(dockerfile, '--ulimit', 'nofle=1').stderr, /did you mean nofile/);
});
