import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type DiffID } from '../../src/base/digest.ts';
import { isTsbuildError, type ErrorCode } from '../../src/base/errors.ts';
import type { BuildGraph, Vertex } from '../../src/graph/graph.ts';
import type { CopyOp, RunOp } from '../../src/graph/ops.ts';
import type { ImageConfig, RunConfig } from '../../src/oci/documents.ts';
import { inOrder } from '../../src/solver/solve.ts';
import { createBuildGraph } from '../../frontend/frontend.ts';
import type { FrontendRequest } from '../../frontend/request.ts';

const platform = { os: 'linux', architecture: 'amd64' };
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function image(config: RunConfig): ImageConfig {
  return {
    ...platform,
    config,
    rootfs: { type: 'layers', diff_ids: [digestOf('layer') as DiffID] },
    history: [{ created_by: 'base' }],
  };
}

async function graph(
  text: string,
  more: Partial<FrontendRequest> = {},
  images: Readonly<Record<string, RunConfig>> = {},
): Promise<BuildGraph & { readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const made = await createBuildGraph({
    file: 'Dockerfile',
    text,
    platform,
    buildPlatform: platform,
    buildArgs: {},
    labels: {},
    noCache: false,
    network: 'default',
    namedContexts: {},
    resolveImage(reference) {
      asked.push(reference);
      return Promise.resolve({
        reference,
        manifest: digestOf(reference),
        config: image(images[reference] ?? { Env: [PATH] }),
      });
    },
    ...more,
  });
  return { ...made, asked };
}

function ops<K extends 'run' | 'copy'>(made: BuildGraph, kind: K): (K extends 'run' ? RunOp : CopyOp)[] {
  return inOrder(made.target)
    .map((vertex: Vertex) => vertex.op)
    .filter((op) => op.kind === kind) as (K extends 'run' ? RunOp : CopyOp)[];
}

const createdBy = (made: BuildGraph): string[] => made.history.map((step) => step.createdBy);

async function refused(
  text: string,
  code: ErrorCode,
  message: RegExp,
  line: number,
  more: Partial<FrontendRequest> = {},
): Promise<void> {
  await assert.rejects(graph(text, more), (error) => {
    assert.ok(isTsbuildError(error, code), String(error));
    assert.match(`${error.message} ${error.hint ?? ''}`, message);
    assert.equal(error.source?.range.startLine, line);
    return true;
  });
}

test('only stages that the target reaches are resolved', async () => {
  const made = await graph('FROM unused\nRUN x\nFROM a AS one\nRUN y\nFROM b\nCOPY --from=one /f /g\n');
  assert.deepEqual(made.asked.toSorted(), ['a', 'b']);
  assert.deepEqual((await graph('FROM a AS one\nFROM b\n', { target: 'ONE' })).asked, ['a']);
});

test('equal beginnings of stages are one vertex', async () => {
  const made = await graph(
    'FROM a AS x\nRUN same\nFROM a AS y\nRUN same\nRUN more\nFROM a\nCOPY --from=x /1 /\nCOPY --from=y /2 /\n',
  );
  assert.equal(ops(made, 'run').length, 2);
});

test('shell and exec form, SHELL, CMD and ENTRYPOINT give what docker stores', async () => {
  const { config } = await graph('FROM a\nSHELL ["/bin/bash", "-ec"]\nCMD echo hi\nENTRYPOINT ["x", "y"]\n');
  assert.deepEqual(config.Cmd, ['/bin/bash', '-ec', 'echo hi']);
  assert.deepEqual(config.Entrypoint, ['x', 'y']);
  const inherited = await graph('FROM a\nENTRYPOINT ["x"]\n', {}, { a: { Cmd: ['old'] } });
  assert.equal(inherited.config.Cmd, undefined);
});

test('one instruction sees the variables from before it, order decides between ARG and ENV', async () => {
  const made = await graph('FROM a\nENV A=1 B=$A\nARG A=2\nRUN x\nENV A=3\nRUN y\n');
  assert.deepEqual(made.config.Env, [PATH, 'A=3', 'B=']);
  const [first, second] = ops(made, 'run');
  assert.ok(first?.env.includes('A=2'));
  assert.ok(second?.env.includes('A=3'));
});

test('build arguments win over defaults, globals are seen where they are declared again', async () => {
  const text = 'ARG V=1\nARG W=w\nFROM a:$V\nARG V\nARG X=$V\nRUN x\n';
  const made = await graph(text, { buildArgs: { V: '2' } });
  assert.deepEqual(made.asked, ['a:2']);
  assert.deepEqual(
    ops(made, 'run')[0]?.env.filter((entry) => /^[VWX]=/.test(entry)),
    ['V=2', 'X=2'],
  );
  assert.equal(createdBy(made).at(-1), 'RUN |2 V=2 X=2 /bin/sh -c x # buildkit');
});

test('proxies are visible to RUN without ARG and do not count', async () => {
  const [run] = ops(await graph('FROM a\nRUN x\n', { buildArgs: { HTTP_PROXY: 'p' } }), 'run');
  assert.ok(run?.env.includes('HTTP_PROXY=p'));
  assert.deepEqual(run?.volatileEnv, ['HTTP_PROXY', 'http_proxy']);
});

test('platform arguments are there when asked for', async () => {
  const [run] = ops(
    await graph('FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nRUN x\n', {
      platform: { os: 'linux', architecture: 'arm64' },
    }),
    'run',
  );
  assert.ok(run?.env.includes('TARGETARCH=arm64'));
});

test('WORKDIR is joined for the directory and kept as written in the config', async () => {
  const made = await graph('FROM a\nWORKDIR /x/\nWORKDIR y/../z\nCOPY f g/\n');
  assert.equal(made.config.WorkingDir, '/x/z');
  assert.deepEqual(
    ops(made, 'copy').map(({ instruction, destination }) => [instruction, destination]),
    [
      ['WORKDIR', '/x'],
      ['WORKDIR', '/x/z'],
      ['COPY', '/x/z/g/'],
    ],
  );
});

test("history texts are BuildKit's", async () => {
  const made = await graph(
    'FROM a\nENV k=v k2="v 2"\nLABEL x=1\nEXPOSE 80 81/udp\nUSER u\nVOLUME /v\nSTOPSIGNAL SIGTERM\nCMD ["a", "b"]\nHEALTHCHECK --interval=1s CMD ["t"]\nCOPY --chown=1:2 --chmod=755 a b/\n',
  );
  assert.deepEqual(createdBy(made), [
    'ENV k=v k2=v 2',
    'LABEL x=1',
    'EXPOSE [80/tcp 81/udp]',
    'USER u',
    'VOLUME [/v]',
    'STOPSIGNAL SIGTERM',
    'CMD ["a" "b"]',
    'HEALTHCHECK {Test:[CMD t] Interval:1s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}',
    'COPY --chown=1:2 --chmod=755 a b/ # buildkit',
  ]);
});

test('triggers of a base run first, in order, and are cleared', async () => {
  const made = await graph(
    'FROM base\nRUN own\n',
    {},
    { base: { Env: [PATH], OnBuild: ['RUN one', 'COPY . /ctx'] } },
  );
  assert.deepEqual(
    inOrder(made.target)
      .map(({ name }) => name)
      .filter((name) => /RUN|COPY/.test(name)),
    ['[2/4] RUN one', '[3/4] COPY . /ctx', '[4/4] RUN own'],
  );
  assert.equal(made.config.OnBuild, undefined);
});

test('ONBUILD is stored as text', async () => {
  assert.deepEqual((await graph('FROM a\nONBUILD RUN x y\n')).config.OnBuild, ['RUN x y']);
});

test('heredocs: a script for the shell, a script with an interpreter, files for COPY', async () => {
  const made = await graph(
    'FROM a\nENV N=n\nRUN <<EOF\necho $N\nEOF\nRUN <<EOF\n#!/usr/bin/python\nx\nEOF\nCOPY <<f <<"g" /d/\n$N\nf\n$N\ng\n',
  );
  const [shell, script] = ops(made, 'run');
  assert.deepEqual(shell?.args, ['/bin/sh', '-c', 'echo $N\n']);
  assert.deepEqual(script?.script, { path: '/dev/pipes/EOF', content: '#!/usr/bin/python\nx\n' });
  assert.deepEqual(ops(made, 'copy')[0]?.sources, [
    { kind: 'inline', name: 'f', content: 'n\n' },
    { kind: 'inline', name: 'g', content: '$N\n' },
  ]);
});

test('COPY --link is a layer of its own, merged on top', async () => {
  const made = await graph('FROM a\nCOPY --link f /g\n');
  assert.equal(made.target.op.kind, 'merge');
  assert.equal(made.target.inputs[1]?.inputs[0]?.op.kind, 'image');
});

test('mounts of RUN are parsed by type', async () => {
  const [run] = ops(
    await graph(
      'FROM a\nWORKDIR /w\nRUN --mount=target=src --mount=type=cache,id=c,target=/c,sharing=locked,uid=7 --mount=type=secret,id=s,env=S --mount=type=tmpfs,target=/t,size=1m x\n',
    ),
    'run',
  );
  assert.deepEqual(run?.mounts, [
    { kind: 'bind', input: 1, source: '/', target: '/w/src', readonly: true },
    { kind: 'cache', id: 'c', target: '/c', sharing: 'locked', readonly: false, mode: 0o755, uid: 7, gid: 0 },
    { kind: 'secret', id: 's', env: 'S', required: false, mode: 0o400, uid: 0, gid: 0 },
    { kind: 'tmpfs', target: '/t', size: 1 << 20 },
  ]);
});

test('labels of the command line win, SOURCE_DATE_EPOCH is a number', async () => {
  const made = await graph('FROM a\nLABEL x=1 y=2\n', {
    labels: { x: '9' },
    buildArgs: { SOURCE_DATE_EPOCH: '5' },
  });
  assert.deepEqual(made.config.Labels, { x: '9', y: '2' });
  assert.equal(made.sourceDateEpoch, 5);
});

test("a scratch stage has docker's PATH and no base", async () => {
  const made = await graph('FROM scratch\nCOPY a /\n');
  assert.deepEqual(made.config, { Env: [PATH], WorkingDir: '/' });
  assert.deepEqual(made.asked, []);
});

test('arguments that nobody asks for are warned of', async () => {
  assert.deepEqual((await graph('FROM a\n', { buildArgs: { TYPO: '1' } })).unusedArgs, ['TYPO']);
});

test('a named context replaces an image and a stage source', async () => {
  assert.deepEqual(
    (await graph('FROM a\n', { namedContexts: { a: { kind: 'image', reference: 'other:1' } } })).asked,
    ['other:1'],
  );
  const made = await graph('FROM a\nCOPY --from=extra f /\n', {
    namedContexts: { extra: { kind: 'directory' } },
  });
  assert.ok(inOrder(made.target).some(({ op }) => op.kind === 'context' && op.name === 'extra'));
});

const REFUSED: readonly (readonly [text: string, code: ErrorCode, message: RegExp, line: number])[] = [
  ['FROM a\nRUM x', 'INSTRUCTION_UNKNOWN', /did you mean RUN/, 2],
  ['RUN x\nFROM a', 'DOCKERFILE_SYNTAX', /no build stage yet/, 1],
  ['ARG x', 'DOCKERFILE_SYNTAX', /no stage to build/, 1],
  ['FROM', 'INSTRUCTION_INVALID', /needs an image/, 1],
  ['FROM a AS 1x', 'STAGE_INVALID', /invalid name/, 1],
  ['FROM $X', 'STAGE_INVALID', /blank after expansion/, 1],
  ['FROM --platform=a/b/c/d x', 'PLATFORM_INVALID', /invalid platform/, 1],
  ['FROM a\nCOPY x', 'INSTRUCTION_INVALID', /destination is missing/, 2],
  ['FROM a\nCOPY --chmod=9 x y', 'INSTRUCTION_INVALID', /invalid value "9" of --chmod/, 2],
  ['FROM a\nCOPY --from=0 x y', 'STAGE_INVALID', /circular dependency/, 2],
  ['FROM a\nCOPY --from=3 x y', 'STAGE_INVALID', /invalid stage index/, 2],
  ['FROM a\nCOPY --from=$X x y', 'INSTRUCTION_INVALID', /not expanded in --from/, 2],
  ['FROM a AS me\nCOPY --from=me x y', 'STAGE_INVALID', /circular/, 2],
  ['FROM a\nCOPY https://x/y z', 'INSTRUCTION_INVALID', /use ADD/, 2],
  ['FROM a\nADD --checksum=sha256:1 f g', 'INSTRUCTION_INVALID', /http\(s\) or git source/, 2],
  ['FROM a\nENV', 'INSTRUCTION_INVALID', /at least one/, 2],
  ['FROM a\nENV x', 'DOCKERFILE_SYNTAX', /gives "x" no value/, 2],
  ['FROM a\nENV a=1 b', 'DOCKERFILE_SYNTAX', /no = in "b"/, 2],
  ['FROM a\nEXPOSE 70000', 'INSTRUCTION_INVALID', /invalid container port/, 2],
  ['FROM a\nEXPOSE 80/foo', 'INSTRUCTION_INVALID', /invalid protocol/, 2],
  ['FROM a\nSTOPSIGNAL foo', 'INSTRUCTION_INVALID', /invalid signal/, 2],
  ['FROM a\nSHELL bash', 'INSTRUCTION_INVALID', /JSON form/, 2],
  ['FROM a\nHEALTHCHECK FOO x', 'INSTRUCTION_INVALID', /unknown type "FOO"/, 2],
  ['FROM a\nHEALTHCHECK --interval=1 CMD x', 'INSTRUCTION_INVALID', /invalid duration/, 2],
  ['FROM a\nONBUILD ONBUILD RUN x', 'INSTRUCTION_INVALID', /another ONBUILD/, 2],
  ['FROM a\nONBUILD FROM x', 'INSTRUCTION_INVALID', /not allowed/, 2],
  ['FROM a\nRUN --mount=tgt=/x y', 'INSTRUCTION_INVALID', /unexpected key "tgt"/, 2],
  ['FROM a\nRUN --mount=type=foo,target=/x y', 'INSTRUCTION_INVALID', /unsupported mount type/, 2],
  ['FROM a\nRUN --network=foo y', 'INSTRUCTION_INVALID', /invalid network mode/, 2],
  ['FROM a\nRUN []', 'INSTRUCTION_INVALID', /needs a command/, 2],
  ['FROM a\nCMD ["a", 1]', 'DOCKERFILE_SYNTAX', /strings only/, 2],
  ['FROM a\nWORKDIR ${x', 'EXPANSION_FAILED', /not closed|missing/, 2],
];
for (const [text, code, message, line] of REFUSED)
  test(`${JSON.stringify(text)} is ${code}`, () => refused(text, code, message, line));

test('a target that is not there is refused with a near name', async () => {
  await assert.rejects(
    graph('FROM a AS build\n', { target: 'bulid' }),
    (error) => isTsbuildError(error, 'STAGE_NOT_FOUND') && /"build"/.test(error.hint ?? ''),
  );
});

test('what resolveImage throws gets the place of its FROM', async () => {
  await assert.rejects(
    graph('FROM a\nRUN x\n', { resolveImage: () => Promise.reject(new (class extends Error {})('lost')) }),
    /lost/,
  );
});
