/** Secrets: every way in which a step could make one public, tried; agents over a socket of their own. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startCommands, type Commands } from './commands.ts';
import { importBusybox, openWorkspace, type Workspace } from './fixture.ts';

const SECRET = 'Tr0ub4dor&3/horse+staple';
const MOUNT = '--mount=type=secret,id=tok';
const AS_ENV = '--mount=type=secret,id=tok,env=TOK';

/** Forms of the secret that would give it away. */
const FORMS = [
  SECRET,
  Buffer.from(SECRET).toString('base64').replace(/=+$/, '').slice(0, -1),
  Buffer.from(SECRET).toString('hex'),
  encodeURIComponent(SECRET),
  [...SECRET].reverse().join(''),
];

/** What a step does with the secret; the file is /run/secrets/tok, the variable TOK. */
const TRICKS: readonly (readonly [name: string, run: string])[] = [
  ['prints its environment', `RUN ${AS_ENV} env; export -p; cat /proc/self/environ`],
  ['prints the file', `RUN ${MOUNT} cat /run/secrets/tok`],
  [
    'prints it in pieces',
    `RUN ${AS_ENV} for c in $(echo "$TOK" | sed 's/./& /g'); do printf %s "$c"; done; echo`,
  ],
  [
    'prints it slowly, in two halves',
    `RUN ${AS_ENV} printf %s "\${TOK%%/*}"; sleep 0.2; printf '/%s\\n' "\${TOK#*/}"`,
  ],
  [
    'prints it in base64',
    `RUN ${MOUNT} base64 /run/secrets/tok; (echo -n x; cat /run/secrets/tok) | base64; (echo -n xy; cat /run/secrets/tok) | base64`,
  ],
  ['prints it in hexadecimal', `RUN ${MOUNT} xxd -p /run/secrets/tok | tr -d '\\n'`],
  ['prints it on standard error', `RUN ${MOUNT} cat /run/secrets/tok >&2`],
  ['fails and shows it last', `RUN ${AS_ENV} echo "last words $TOK" >&2; false`],
  ['traces its commands', `RUN ${AS_ENV} set -x; : "$TOK"; true "$TOK"`],
  ['leaves the mounted file where it is', `RUN ${MOUNT} test -s /run/secrets/tok`],
  [
    'mounts it into a directory of the image',
    `RUN --mount=type=secret,id=tok,target=/root/.netrc test -s /root/.netrc`,
  ],
  [
    'mounts it over a file of the image',
    `RUN --mount=type=secret,id=tok,target=/etc/passwd test -s /etc/passwd`,
  ],
  [
    'crashes and leaves a core file',
    `RUN ${AS_ENV} cd /tmp; ulimit -c unlimited 2>/dev/null; sh -c 'kill -SEGV $$'; ls /tmp; test -z "$(ls /tmp | grep core)"`,
  ],
  ['touches files beside it', `RUN ${MOUNT} touch /tmp/x; ls -la /run/secrets`],
  [
    'keeps it in a cache for a later build',
    `RUN --mount=type=cache,target=/c ${AS_ENV} echo "$TOK" | md5sum > /c/sum`,
  ],
  ['writes it to the terminal', `RUN ${MOUNT} cat /run/secrets/tok > /dev/tty 2>/dev/null || true`],
  ['sees it after the step', `RUN ${AS_ENV} true\nRUN test ! -e /run/secrets/tok && test -z "$TOK" && env`],
  ['sees it in a child image', `RUN ${AS_ENV} true\nONBUILD RUN env`],
  ['writes it with a carriage return', `RUN ${AS_ENV} printf 'x\\r%s\\r' "$TOK"`],
  ['writes it as JSON', `RUN ${AS_ENV} printf '{"token":"%s"}\\n' "$TOK"`],
  ['reads it from the first process', `RUN ${AS_ENV} tr '\\0' '\\n' < /proc/1/environ`],
  ['prints it a character a line', `RUN ${AS_ENV} printf %s "$TOK" | fold -w 1; echo`],
  ['prints it in lines of seven', `RUN ${AS_ENV} printf %s "$TOK" | fold -w 7; echo`],
  ['prints it in base64, in lines', `RUN ${MOUNT} base64 /run/secrets/tok | fold -w 9`],
  ['dumps it', `RUN ${MOUNT} od -An -v -tx1 /run/secrets/tok; hexdump -v -e '1/1 "%02x "' /run/secrets/tok`],
  ['prints it backwards', `RUN ${MOUNT} rev /run/secrets/tok`],
  ['passes it to a program', `RUN ${AS_ENV} sh -c 'tr "\\0" " " < /proc/$$/cmdline; ps -o args' x "$TOK"`],
  ['names a file after it', `RUN ${AS_ENV} cd /tmp; touch "t$(echo "$TOK" | tr / .)"; rm t*; ls -la /tmp`],
  ['writes it in a heredoc', `RUN ${AS_ENV} <<EOF\ncat <<END\nvalue $TOK\nEND\nEOF`],
];

/** Everything that a build leaves: its output, what it wrote for others, all of its state but the cache mounts. */
function traces(space: Workspace, output: string): Buffer {
  const archive = spawnSync('tar', ['-C', space.root, '--exclude=./run/caches', '-cf', '-', '.'], {
    maxBuffer: 1 << 30,
  });
  const files = ['m.json', 'out.tar'].map((name) => join(space.directory, name)).filter(existsSync);
  return Buffer.concat([Buffer.from(output), archive.stdout, ...files.map((file) => readFileSync(file))]);
}

let commands: Commands;
before(() => {
  commands = startCommands({ ...process.env, NO_COLOR: '1' });
});
after(() => commands[Symbol.dispose]());

for (const [name, run] of TRICKS)
  test(`a step that ${name} does not make the secret public`, async () => {
    using space = openWorkspace();
    importBusybox(space);
    writeFileSync(join(space.directory, 'tok'), SECRET);
    const context = space.context('c', { Dockerfile: `FROM bb:1\n${run}\n` });
    for (const progress of ['plain', 'json']) {
      const flags = [
        ...['--no-cache', '-t', 'x', '--progress', progress, '--secret', 'id=tok,src=tok'],
        ...['--metadata-file', 'm.json', '--output', 'type=oci,compression=uncompressed,dest=out.tar'],
      ];
      const ended = await commands.run(['build', ...flags, context], space.directory, space.env);
      assert.equal(ended.code, run.endsWith('false') ? 1 : 0, ended.stderr);
      const logs = [...ended.stderr.matchAll(/"data":"([^"]*)"/g)].map(([, data = '']) =>
        Buffer.from(data, 'base64').toString(),
      );
      const all = traces(space, [ended.stdout, ended.stderr, ...logs].join('\n'));
      const dense = logs.join('').replace(/\s/g, '');
      for (const form of FORMS) {
        assert.ok(!all.includes(form), `${form} is in what ${progress} left`);
        assert.ok(!dense.includes(form), `${form} is in the lines of the log`);
      }
    }
  });

test('a layer that somebody wrote the secret into is warned of', () => {
  using space = openWorkspace();
  importBusybox(space);
  writeFileSync(join(space.directory, 'tok'), SECRET);
  const context = space.context('c', { Dockerfile: `FROM bb:1\nRUN ${MOUNT} cp /run/secrets/tok /leak\n` });
  const ended = space.ok(['build', '--progress', 'plain', '--secret', 'id=tok,src=tok', context]);
  assert.match(ended.stderr, /the layer of this step holds the value of a secret/);
});

test('1.5 type=secret: file and variable, owner and mode, required, and no part of the cache key', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile: `FROM bb:1
RUN ${MOUNT},required=true --mount=type=secret,id=tok,target=/o,uid=7,gid=8,mode=0440 stat -c '%n %a %u:%g' /run/secrets/tok /o
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
`,
  });
  const env = { TOK: SECRET };
  const args = ['build', '--progress', 'plain', context];
  const { stderr } = space.ok([...args, '--secret', 'id=tok,env=TOK'], { env });
  assert.match(stderr, /\/run\/secrets\/tok 400 0:0/);
  assert.match(stderr, /\/o 440 7:8/);
  assert.match(
    space.ok([...args, '--secret', 'id=tok,env=TOK'], { env: { TOK: 'other' } }).stderr,
    /0 executed/,
  );
  assert.match(space.tsbuild([...args, '--no-cache']).stderr, /secret "tok" was not given/);
  assert.match(space.tsbuild([...args, '--secret', 'id=tok,src=missing']).stderr, /there is no such file/);
});

/** Asks the agent for its keys (SSH2_AGENTC_REQUEST_IDENTITIES) and prints the answer in hexadecimal. */
const ASK = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  unsigned char answer[4096];
  size_t have = 0;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(a.sun_path, getenv("SSH_AUTH_SOCK"), sizeof a.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) { perror("connect"); return 1; }
  if (write(fd, "\\0\\0\\0\\1\\13", 5) != 5) return 1;
  while (have < 4 || have < 4 + (((size_t)answer[2] << 8) | answer[3])) {
    ssize_t n = read(fd, answer + have, sizeof answer - have);
    if (n <= 0) return 1;
    have += (size_t)n;
  }
  for (size_t i = 0; i < have; i++) printf("%02x", answer[i]);
  puts("");
  return 0;
}
`;

const hasAgent = spawnSync('ssh-agent', ['-h'], { stdio: 'ignore' }).error === undefined;

test('1.5 type=ssh: a real agent, for a user of the container, over a socket that is gone afterwards', {
  skip: hasAgent ? false : 'no ssh-agent',
}, async () => {
  using space = openWorkspace();
  importBusybox(space);
  const socket = join(space.directory, 'agent.sock');
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
  try {
    for (let tries = 0; tries < 1000 && spawnSync('test', ['-S', socket]).status !== 0; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const key = join(space.directory, 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    execFileSync('ssh-add', ['-q', key], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' });
    const [, blob = ''] = readFileSync(`${key}.pub`, 'utf8').split(' ');
    const context = space.context('c', {
      Dockerfile: `FROM bb:1
COPY ask /
USER bob
RUN --mount=type=ssh,uid=1000,mode=0600 stat -c '%a %u' $SSH_AUTH_SOCK && /ask
RUN test -z "$SSH_AUTH_SOCK" && test ! -e /run/buildkit
`,
    });
    execFileSync('gcc', ['-static', '-x', 'c', '-o', join(context, 'ask'), '-'], { input: ASK });
    const ended = space.ok(['build', '--progress', 'plain', '--ssh', `default=${socket}`, context]);
    assert.match(ended.stderr, /600 1000/);
    const answer = /^#\d+ [\d.]+ ([0-9a-f]{80,})$/m.exec(ended.stderr)?.[1] ?? '';
    assert.ok(Buffer.from(answer, 'hex').includes(Buffer.from(blob, 'base64')), 'the agent named its key');
    assert.match(
      space.tsbuild(['build', '--ssh', `default=${key}`, context]).stderr,
      /is not the socket of an agent/,
    );
  } finally {
    agent.kill();
  }
});
