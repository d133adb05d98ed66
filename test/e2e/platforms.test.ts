/** Several platforms in one build: an index; programs of another architecture through binfmt_misc. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLI, importBusybox, openWorkspace } from './fixture.ts';

interface Index {
  readonly mediaType: string;
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
  }[];
}

function blob(layout: string, digest: string): unknown {
  return JSON.parse(readFileSync(join(layout, 'blobs', digest.replace(':', '/')), 'utf8'));
}

test('1.2 Platform args, 1.3 --platform: a list gives an index, and what does not depend on it runs once', () => {
  using space = openWorkspace();
  importBusybox(space);
  const layout = join(space.directory, 'layout');
  const context = space.context('c', {
    Dockerfile: `FROM --platform=$BUILDPLATFORM bb:1 AS build
RUN echo once > /shared
FROM build AS compile
ARG TARGETARCH TARGETVARIANT TARGETPLATFORM BUILDPLATFORM
RUN echo "$BUILDPLATFORM $TARGETPLATFORM $TARGETARCH $TARGETVARIANT" > /out
FROM scratch
COPY --from=build /shared /
COPY --from=compile /out /
`,
  });
  const platforms = 'linux/amd64,linux/arm64,linux/arm/v7';
  const ended = space.ok([
    'build',
    '--progress',
    'plain',
    '--platform',
    platforms,
    '-o',
    `type=oci,dest=${layout},tar=false`,
    context,
  ]);
  assert.equal(ended.stderr.match(/RUN echo once > \/shared\n#\d+ executing: .*\n#\d+ DONE/g)?.length, 1);
  const [entry] = (blob(layout, '../index.json') as Index).manifests;
  const index = blob(layout, entry?.digest ?? '') as Index;
  assert.deepEqual(
    index.manifests.map(({ platform }) => platform),
    [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
      { os: 'linux', architecture: 'arm', variant: 'v7' },
    ],
  );
  for (const { digest, platform } of index.manifests) {
    const { config } = blob(layout, digest) as { readonly config: { readonly digest: string } };
    const { architecture, variant } = blob(layout, config.digest) as {
      architecture: string;
      variant?: string;
    };
    assert.deepEqual([architecture, variant], [platform?.architecture, platform?.variant]);
  }
  const out = join(space.directory, 'out');
  space.ok(['build', '-q', '--platform', platforms, '-o', out, context]);
  assert.equal(readFileSync(join(out, 'linux_arm_v7/out'), 'utf8'), 'linux/amd64 linux/arm/v7 arm v7\n');
  const alone = space.tsbuild(['build', '--platform', platforms, '-o', 'type=docker,dest=x.tar', context]);
  assert.match(alone.stderr, /holds one platform, and 3 were built/);
});

test('a RUN that nothing here can run is refused before anything runs', () => {
  using space = openWorkspace();
  importBusybox(space);
  const context = space.context('c', {
    Dockerfile:
      'FROM --platform=$BUILDPLATFORM bb:1 AS first\nRUN echo executed\nFROM scratch\nCOPY --from=first /bin /bin\nRUN id\n',
  });
  const ended = space.tsbuild(['build', '--progress', 'plain', '--platform', 'linux/s390x', context]);
  assert.equal(ended.code, 1);
  assert.match(
    ended.stderr,
    /cannot run programs for linux\/s390x[\s\S]*Dockerfile:5:1[\s\S]*qemu-user-static/,
  );
  assert.doesNotMatch(ended.stderr, /^#\d/m);
});

/** A program for linux/arm64 that writes one line: AArch64 ELF, two system calls. */
function armProgram(line: string): Buffer {
  const code = [
    0xd2800808, // mov x8, #64 (write)
    0xd2800020, // mov x0, #1
    0x100000c1, // adr x1, the text
    0xd2800002 | (line.length << 5), // mov x2, #length
    0xd4000001, // svc #0
    0xd2800ba8, // mov x8, #93 (exit)
    0xd2800000, // mov x0, #0
    0xd4000001, // svc #0
  ];
  const size = 120 + code.length * 4 + line.length;
  const elf = Buffer.alloc(size);
  elf.write('\x7fELF\x02\x01\x01', 'latin1');
  elf.writeUInt16LE(2, 16);
  elf.writeUInt16LE(183, 18);
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(0x400078n, 24);
  elf.writeBigUInt64LE(64n, 32);
  for (const [offset, value] of [
    [52, 64],
    [54, 56],
    [56, 1],
  ] as const)
    elf.writeUInt16LE(value, offset);
  elf.writeUInt32LE(1, 64);
  elf.writeUInt32LE(5, 68);
  elf.writeBigUInt64LE(0x400000n, 80);
  elf.writeBigUInt64LE(0x400000n, 88);
  elf.writeBigUInt64LE(BigInt(size), 96);
  elf.writeBigUInt64LE(BigInt(size), 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  for (const [index, word] of code.entries()) elf.writeUInt32LE(word >>> 0, 120 + index * 4);
  elf.write(line, 120 + code.length * 4, 'latin1');
  return elf;
}

const QEMU = '/usr/bin/qemu-aarch64-static';
const canEmulate =
  existsSync(QEMU) &&
  process.arch === 'x64' &&
  spawnSync('unshare', ['-m', 'mount', '-t', 'binfmt_misc', 'binfmt_misc', '/proc/sys/fs/binfmt_misc'])
    .status === 0;

test('RUN of another architecture goes through binfmt_misc', {
  skip: canEmulate ? false : 'no qemu-aarch64-static, or no binfmt_misc',
}, () => {
  using space = openWorkspace();
  const context = space.context('c', {
    Dockerfile: 'FROM scratch\nCOPY --chmod=755 hello /\nRUN ["/hello"]\n',
  });
  writeFileSync(join(context, 'hello'), armProgram('hello from arm64\n'));
  // The registration is the machine's; it is taken back whatever happens.
  const script = `
name=tsbuild-test-$$
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
echo ":qemu-aarch64-$name:M::\\\\x7fELF\\\\x02\\\\x01\\\\x01\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x00\\\\x02\\\\x00\\\\xb7\\\\x00:\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\x00\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xfe\\\\xff\\\\xff\\\\xff:${QEMU}:F" > /proc/sys/fs/binfmt_misc/register
trap 'echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64-$name' EXIT
"$1" "$2" build --progress plain --platform linux/arm64 "$3"
`;
  const output = execFileSync(
    'unshare',
    ['-m', 'bash', '-c', `{ ${script} } 2>&1`, 'bash', process.execPath, CLI, context],
    {
      env: { ...process.env, TSBUILD_ROOT: space.root, NO_COLOR: '1' },
      encoding: 'utf8',
    },
  );
  assert.match(output, /hello from arm64/);
});
