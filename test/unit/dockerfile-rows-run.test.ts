/** RUN, as far as the graph shows it: what is executed, mounts, network, security. One row of behaviour per name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunMount } from '../../src/graph/ops.ts';
import {
  build,
  command,
  copies,
  createdBy,
  PATH,
  refused,
  runs,
  type Changes,
} from '../suites/frontend-fixture.ts';

async function mount(fields: string, before = '', changes: Changes = {}): Promise<RunMount | undefined> {
  return runs(await build(`FROM a\n${before}RUN --mount=${fields} x\n`, changes))[0]?.mounts[0];
}

async function refuses(fields: string, message: RegExp): Promise<void> {
  await refused(`FROM a\nRUN --mount=${fields} x\n`, 'INSTRUCTION_INVALID', message, 2);
}

test('1.5 Shell/exec: the shell and the text, or the words', async () => {
  assert.deepEqual(await command('RUN a  "b" \\\n  c'), ['/bin/sh', '-c', 'a  "b"   c']);
  assert.deepEqual(await command('RUN ["a", "b c"]'), ['a', 'b c']);
});

test('1.5 Shell/exec: environment, working directory and user', async () => {
  const made = await build('FROM a\nENV E=e\nARG G=g\nWORKDIR /w/\nUSER u:g\nRUN x\n', {
    buildArgs: { NO_PROXY: 'n' },
  });
  const [run] = runs(made);
  assert.deepEqual(run?.env.toSorted(), ['E=e', 'G=g', 'NO_PROXY=n', PATH, 'no_proxy=n']);
  assert.deepEqual([run.cwd, run.user, run.network, run.security], ['/w/', 'u:g', 'default', 'sandbox']);
});

test('1.5 Heredoc: alone, its content is what the shell gets', async () => {
  assert.deepEqual(await command('RUN <<E\na $X\nb\nE'), ['/bin/sh', '-c', 'a $X\nb\n']);
  assert.deepEqual(await command('RUN <<-E\n\ta\n\t\tb\n\tE'), ['/bin/sh', '-c', 'a\nb\n']);
});

test('1.5 Heredoc: with an interpreter, it is a file that is executed', async () => {
  const [run] = runs(await build('FROM a\nRUN <<E\n#!/usr/bin/python\nx\nE\n'));
  assert.deepEqual(run?.args, ['/bin/sh', '-c', '/dev/pipes/E']);
  assert.deepEqual(run.script, { path: '/dev/pipes/E', content: '#!/usr/bin/python\nx\n' });
});

test('1.5 Heredoc: with anything else beside it, the shell reads it', async () => {
  assert.deepEqual(await command('RUN cat <<A <<-"B" > f\n$1\nA\n\t2\n\tB'), [
    '/bin/sh',
    '-c',
    'cat <<A <<-"B" > f\n$1\nA\n\t2\nB',
  ]);
});

test('1.5 Heredoc: history has its text', async () => {
  assert.deepEqual(createdBy(await build('FROM a\nRUN <<E\nx\nE\nRUN <<E\n#!y\nE\n')), [
    'RUN /bin/sh -c x\n # buildkit',
    'RUN /bin/sh -c /dev/pipes/E # buildkit',
  ]);
});

test('1.5 Sandbox files: the host name can be given', async () => {
  const [run] = runs(await build('FROM a\nRUN x\n', { buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: 'box' } }));
  assert.equal(run?.hostname, 'box');
  assert.equal(runs(await build('FROM a\nRUN x\n'))[0]?.hostname, undefined);
});

test('1.5 --mount generic: other names of keys, values that may be missing, quotes', async () => {
  const wanted = { kind: 'bind', input: 1, source: '/s', target: '/t', readonly: false };
  assert.deepEqual(await mount('type=bind,src=s,dst=/t,rw'), wanted);
  assert.deepEqual(await mount('TYPE=bind,SOURCE=/s,destination=/t,readwrite=true'), wanted);
  assert.deepEqual(await mount('\'source=s\',"target=/t",ro=false'), wanted);
  assert.deepEqual(await mount('source=s,target=/t,rw=false'), { ...wanted, readonly: true });
});

test('1.5 --mount generic: keys that a type has no use for are taken, of two that contradict the last counts', async () => {
  for (const fields of [
    'type=bind,id=x,target=/t',
    'type=tmpfs,id=x,source=/s,from=nowhere,ro,target=/t',
    'type=secret,id=x,ro,rw',
    'type=ssh,source=/s,ro',
  ])
    assert.ok((await mount(fields)) !== undefined, fields);
  const last = async (fields: string): Promise<unknown> => {
    const made = await mount(`target=/t,${fields}`);
    return made?.kind === 'bind' && made.readonly;
  };
  assert.deepEqual([await last('ro,rw'), await last('rw,ro'), await last('rw=false')], [false, true, true]);
});

test('1.5 --mount generic: only from is looked at in stages that nobody needs', async () => {
  await build('FROM a AS unused\nRUN --mount=foo x\nFROM a\nRUN x\n');
  await refused('FROM a AS unused\nRUN --mount=from=$x y\nFROM a\n', 'INSTRUCTION_INVALID', /'from'/, 2);
});

test('1.5 --mount generic: targets below the working directory', async () => {
  const target = async (fields: string, before?: string): Promise<string | undefined> =>
    (await mount(fields, before))?.target;
  assert.equal(await target('target=t/../u', 'WORKDIR /w\n'), '/w/u');
  assert.equal(await target('source=s', 'WORKDIR /w\n'), '/w');
  await refuses('target=/', /invalid mount target "\/"/);
  await refuses('source=s', /invalid mount target "\/"/);
});

test('1.5 --mount generic: variables in values', async () => {
  const before = 'ENV T=/t\nARG S=s\n';
  assert.deepEqual(await mount('source=$S,target=${T}/x', before), {
    kind: 'bind',
    input: 1,
    source: '/s',
    target: '/t/x',
    readonly: true,
  });
});

test('1.5 --mount generic: what it does not know is refused, near names are named', async () => {
  await refuses('tgt=/x', /unexpected key "tgt" .* did you mean dst/);
  await refuses('type=bind,required,target=/x', /unexpected key "required" for mount type "bind"/);
  await refuses('type=foo,target=/x', /unsupported mount type "foo"/);
  await refuses('type=constructor,target=/x', /unsupported mount type "constructor"/);
  await refuses('__proto__=1,target=/x', /unexpected key "__proto__"/);
  await refuses('target', /invalid field "target"/);
  await refuses('type=bind,,target=/x', /invalid field ""/);
  await refuses('"type=bind, target=/x"', /unexpected key " target" .* did you mean target/);
  await refuses('target=/x,ro=maybe', /invalid value "maybe" for readonly/);
});

test('1.5 type=bind (default): read-only, from the context, a stage or an image', async () => {
  const made = await build(
    'FROM a AS s\nRUN s\nFROM b\nRUN --mount=target=/c --mount=from=s,target=/s --mount=from=i,target=/i x\n',
  );
  const run = runs(made).at(-1);
  assert.deepEqual(run?.mounts, [
    { kind: 'bind', input: 1, source: '/', target: '/c', readonly: true },
    { kind: 'bind', input: 2, source: '/', target: '/s', readonly: true },
    { kind: 'bind', input: 3, source: '/', target: '/i', readonly: true },
  ]);
  assert.deepEqual(
    made.target.inputs.map(({ op }) => op.kind),
    ['image', 'copy', 'run', 'image'],
  );
});

test('1.5 type=bind (default): a stage that comes later, or itself, is refused', async () => {
  await refused(
    'FROM a AS s\nRUN --mount=from=t,target=/x y\nFROM b AS t\nFROM s\n',
    'STAGE_INVALID',
    /after this stage/,
    2,
  );
  await refused('FROM a AS s\nRUN --mount=from=s,target=/x y\n', 'STAGE_INVALID', /circular/, 2);
});

test('1.5 type=cache: identity, sharing, owner', async () => {
  const wanted = {
    kind: 'cache',
    id: '/c',
    target: '/c',
    sharing: 'shared',
    readonly: false,
    mode: 0o755,
    uid: 0,
    gid: 0,
  };
  assert.deepEqual(await mount('type=cache,target=/x/../c'), wanted);
  assert.deepEqual(await mount('type=cache,target=/c,id=i,sharing=private,ro,mode=0700,uid=1,gid=2'), {
    ...wanted,
    ...{ id: 'i', sharing: 'private', readonly: true, mode: 0o700, uid: 1, gid: 2 },
  });
  const named = await mount('type=cache,target=/c', '', { buildArgs: { BUILDKIT_CACHE_MOUNT_NS: 'n' } });
  assert.deepEqual(named, { ...wanted, id: 'n//c' });
});

test('1.5 type=cache: first content from a stage', async () => {
  const made = await build('FROM a AS s\nRUN s\nFROM b\nRUN --mount=type=cache,target=/c,from=s x\n');
  const [first] = runs(made).at(-1)?.mounts ?? [];
  assert.ok(first?.kind === 'cache' && first.input !== undefined);
  assert.deepEqual(
    runs(made).map(({ args }) => args.at(-1)),
    ['s', 'x'],
  );
});

test('1.5 type=cache: values that make no sense', async () => {
  await refuses('type=cache,target=/c,sharing=bad', /unsupported sharing value "bad"/);
  await refuses('type=bind,target=/c,sharing=shared', /'sharing' is for cache mounts/);
  await refuses('type=cache,target=/c,mode=9', /invalid value "9" for mode/);
  await refuses('type=cache,target=/c,uid=bob', /invalid value "bob" for uid/);
});

test('1.5 type=tmpfs: with a size', async () => {
  assert.deepEqual(await mount('type=tmpfs,target=/t'), { kind: 'tmpfs', target: '/t' });
  assert.deepEqual(await mount('type=tmpfs,target=/t,size=64m'), {
    kind: 'tmpfs',
    target: '/t',
    size: 64 << 20,
  });
  await refuses('type=tmpfs,target=/t,size=abc', /invalid value "abc" for size/);
});

test('1.5 type=secret: names and places', async () => {
  const common = { kind: 'secret', required: false, mode: 0o400, uid: 0, gid: 0 };
  const cases: readonly (readonly [fields: string, mount: object])[] = [
    ['id=s', { id: 's', target: '/run/secrets/s' }],
    ['source=d/s', { id: 'd/s', target: '/run/secrets/s' }],
    ['target=/x/s', { id: 's', target: '/x/s' }],
    [
      'id=s,target=t,required,mode=0440,uid=1,gid=2',
      { id: 's', target: '/t', required: true, mode: 0o440, uid: 1, gid: 2 },
    ],
    ['id=s,env=S', { id: 's', env: 'S' }],
    ['id=s,env=S,target=/t', { id: 's', env: 'S', target: '/t' }],
  ];
  for (const [fields, wanted] of cases)
    assert.deepEqual(await mount(`type=secret,${fields}`), { ...common, ...wanted });
});

test('1.5 type=secret: what is missing, or too much', async () => {
  await refuses('type=secret', /one of source, target is required|one of id, source, target is required/);
  await refuses('type=secret,id=a,source=b', /both source and id/);
  await refuses('type=secret,id=a,env', /'env' of --mount needs the name/);
  await refuses('type=secret,target=/x,env=S', /needs an id/);
});

test('1.5 type=ssh: an agent of its own for each', async () => {
  const [run] = runs(
    await build(
      'FROM a\nRUN --mount=type=ssh --mount=type=ssh,id=k,required --mount=type=ssh,target=/s,mode=0666,uid=1 x\n',
    ),
  );
  const common = { kind: 'ssh', required: false, mode: 0o600, uid: 0, gid: 0 };
  assert.deepEqual(run?.mounts, [
    { ...common, id: 'default', target: '/run/buildkit/ssh_agent.0' },
    { ...common, id: 'k', target: '/run/buildkit/ssh_agent.1', required: true },
    { ...common, id: 'default', target: '/s', mode: 0o666, uid: 1 },
  ]);
});

test('1.5 --network: default, none, and host where it is allowed', async () => {
  const network = async (flag: string, changes?: Changes): Promise<string | undefined> =>
    runs(await build(`FROM a\nRUN ${flag} x\n`, changes))[0]?.network;
  assert.equal(await network('--network=default'), 'default');
  assert.equal(await network('--network=none'), 'none');
  assert.equal(await network('', { network: 'none' }), 'none');
  assert.equal(await network('--network=host', { allow: ['network.host'] }), 'host');
  assert.equal(await network('--network=host', { network: 'host' }), 'host');
  await refused('FROM a\nRUN --network=host x\n', 'INSTRUCTION_INVALID', /network\.host was not given/, 2);
  await refused('FROM a\nRUN --network=foo x\n', 'INSTRUCTION_INVALID', /invalid network mode "foo"/, 2);
});

test('1.5 --security: sandbox, and insecure where it is allowed', async () => {
  const security = async (flag: string, changes?: Changes): Promise<string | undefined> =>
    runs(await build(`FROM a\nRUN ${flag} x\n`, changes))[0]?.security;
  assert.equal(await security('--security=sandbox'), 'sandbox');
  assert.equal(await security('--security=insecure', { allow: ['security.insecure'] }), 'insecure');
  await refused(
    'FROM a\nRUN --security=insecure x\n',
    'INSTRUCTION_INVALID',
    /security\.insecure was not given/,
    2,
  );
  await refused('FROM a\nRUN --security=foo x\n', 'INSTRUCTION_INVALID', /invalid security mode "foo"/, 2);
});

test('1.5 --device: not known', async () => {
  await refused('FROM a\nRUN --device=x y\n', 'INSTRUCTION_INVALID', /unknown flag "--device"/, 2);
});

test('1.5 Resources: a step is what it executes, not how it is written', async () => {
  const id = async (text: string, changes?: Changes): Promise<string> =>
    (await build(text, changes)).target.id;
  const plain = 'FROM a\nRUN x\n';
  assert.notEqual(await id(plain), await id('FROM a\nRUN y\n'));
  assert.equal(await id(plain), await id('FROM a\nRUN  x \n'));
  assert.equal(copies(await build(plain)).length, 0);
});
