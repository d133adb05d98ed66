/** Instructions that change the image's config, and what history says of them. One row of behaviour per name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { build, copies, createdBy, found, PATH, refused, runs } from '../suites/frontend-fixture.ts';

const after = (lines: string): ReturnType<typeof build> => build(`FROM a\n${lines}\n`);
const history = async (lines: string): Promise<readonly string[]> => createdBy(await after(lines));

test('1.4 ENV: appends, and replaces in place', async () => {
  const made = await build('FROM scratch\nENV A=1 B=2\nENV A=3 C=\nENV PATH=/p\n');
  assert.deepEqual(made.config.Env, ['PATH=/p', 'A=3', 'B=2', 'C=']);
  assert.deepEqual(createdBy(made), ['ENV A=1 B=2', 'ENV A=3 C=', 'ENV PATH=/p']);
  assert.deepEqual(await history('ENV k=v k2="v 2"'), ['ENV k=v k2=v 2']);
});

test('1.4 LABEL: sorted in the config, as written in history', async () => {
  const made = await after('LABEL z="1 2" y=\'3\' \\\n  a=x\nLABEL z=4 __proto__=5');
  assert.deepEqual(Object.entries(made.config.Labels ?? {}), [
    ['__proto__', '5'],
    ['a', 'x'],
    ['y', '3'],
    ['z', '4'],
  ]);
  assert.deepEqual(createdBy(made), ['LABEL z=1 2 y=3 a=x', 'LABEL z=4 __proto__=5']);
});

test('1.4 EXPOSE: ports, ranges, protocols, in the order of sorted words', async () => {
  const made = await after('EXPOSE 91 80/UDP 8000-8002 1:7/sctp [::1]:2:8 127.0.0.1::9');
  assert.deepEqual(Object.keys(made.config.ExposedPorts ?? {}), [
    ...['7/sctp', '8/tcp', '80/udp', '8000/tcp', '8001/tcp', '8002/tcp', '9/tcp', '91/tcp'],
  ]);
  assert.deepEqual(createdBy(made), ['EXPOSE [9/tcp 7/sctp 80/udp 8000/tcp 8001/tcp 8002/tcp 91/tcp 8/tcp]']);
  assert.deepEqual(found(made.warnings).toSorted(), [
    ...['ExposeInvalidFormat@2', 'ExposeInvalidFormat@2', 'ExposeInvalidFormat@2', 'ExposeProtoCasing@2'],
  ]);
});

test('1.4 EXPOSE: words are sorted before they are expanded', async () => {
  assert.deepEqual(
    createdBy(await after('ENV P="9 10"\nEXPOSE 80 $P 7')).at(-1),
    'EXPOSE [9/tcp 10/tcp 7/tcp 80/tcp]',
  );
});

test('1.4 EXPOSE: what is no port is refused', async () => {
  const cases: readonly (readonly [word: string, message: RegExp])[] = [
    ['abc', /invalid container port "abc"/],
    ['70000', /invalid container port "70000"/],
    ['80-70', /invalid container port "80-70"/],
    ['80:', /no port specified/],
    ['80/foo', /invalid protocol "foo"/],
    ['x:80', /invalid host port "x"/],
    ['1-3:80-81', /differ in length/],
  ];
  for (const [word, message] of cases)
    await refused(`FROM a\nEXPOSE ${word}\n`, 'INSTRUCTION_INVALID', message, 2);
  await refused('FROM a\nEXPOSE\n', 'INSTRUCTION_INVALID', /at least one/, 2);
  await refused(`FROM a\nEXPOSE ${'1-65535 '.repeat(9)}\n`, 'INSTRUCTION_INVALID', /more than 196608/, 2);
});

test('1.4 USER: stored as written', async () => {
  const made = await after('USER bob:grp\nRUN x\nUSER ""\nRUN y');
  assert.deepEqual(
    runs(made).map(({ user }) => user),
    ['bob:grp', ''],
  );
  assert.equal(made.config.User, undefined);
  assert.deepEqual(createdBy(made)[0], 'USER bob:grp');
  await refused('FROM a\nUSER\n', 'INSTRUCTION_INVALID', /needs an argument/, 2);
});

test('1.4 WORKDIR: relative is joined and cleaned, absolute is kept as written', async () => {
  const made = await build(
    'FROM a\nWORKDIR x/../y\nWORKDIR /new/\nWORKDIR a b\nWORKDIR /a/../b//c/\nUSER u\nWORKDIR ..\n',
    {},
    { a: { WorkingDir: '/base' } },
  );
  assert.deepEqual(createdBy(made), [
    'WORKDIR /base/y',
    'WORKDIR /new/',
    'WORKDIR /new/a b',
    'WORKDIR /a/../b//c/',
    'USER u',
    'WORKDIR /b',
  ]);
  assert.equal(made.config.WorkingDir, '/b');
  assert.deepEqual(
    copies(made).map(({ destination, workdirUser }) => [destination, workdirUser]),
    [
      ['/base/y', ''],
      ['/new', ''],
      ['/new/a b', ''],
      ['/a/../b//c/', ''],
      ['/b', 'u'],
    ],
  );
});

test('1.4 WORKDIR: the root makes no layer', async () => {
  const made = await after('WORKDIR /\nWORKDIR ""');
  assert.deepEqual(createdBy(made), ['WORKDIR /', 'WORKDIR /']);
  assert.deepEqual(
    made.history.map(({ vertex }) => vertex),
    [undefined, undefined],
  );
  assert.equal(made.config.WorkingDir, '/');
});

test('1.4 VOLUME: adds keys', async () => {
  const made = await build('FROM a\nVOLUME /a dd\nVOLUME ["/b c"]\n', {}, { a: { Volumes: { '/z': {} } } });
  assert.deepEqual(made.config.Volumes, { '/a': {}, '/b c': {}, '/z': {}, dd: {} });
  assert.deepEqual(createdBy(made), ['VOLUME [/a dd]', 'VOLUME [/b c]']);
  await refused('FROM a\nVOLUME [""]\n', 'INSTRUCTION_INVALID', /cannot be empty/, 2);
  await refused('FROM a\nVOLUME ["  "]\n', 'INSTRUCTION_INVALID', /cannot be empty/, 2);
  await refused('FROM a\nVOLUME $x\n', 'INSTRUCTION_INVALID', /"\$x" is empty after expansion/, 2);
  await refused('FROM a AS unused\nVOLUME [""]\nFROM a\n', 'INSTRUCTION_INVALID', /cannot be empty/, 2);
  const blanks = await build('FROM a\nENV x=" /d "\nVOLUME [" /a ", "$x"]\n');
  assert.deepEqual(createdBy(blanks).at(-1), 'VOLUME [/a  /d ]');
});

test('1.4 STOPSIGNAL: checked, and stored as written', async () => {
  for (const signal of ['SIGTERM', 'term', '9', 'rtmin+3', 'SIGRTMAX-1', 'RTMIN+15', '65', '-1']) {
    const made = await after(`STOPSIGNAL ${signal}`);
    assert.equal(made.config.StopSignal, signal);
    assert.deepEqual(createdBy(made), [`STOPSIGNAL ${signal}`]);
  }
  for (const signal of ['foo', '0', '1.5', 'SIG', 'RTMIN+16'])
    await refused(`FROM a\nSTOPSIGNAL ${signal}\n`, 'INSTRUCTION_INVALID', /invalid signal/, 2);
});

test('1.4 SHELL: for later shell forms, stored and inherited', async () => {
  const made = await build('FROM a AS b\nSHELL ["/b", "-c"]\nRUN x\nFROM b\nRUN y\nRUN ["z"]\nCMD w\n');
  assert.deepEqual(
    runs(made).map(({ args }) => args),
    [['/b', '-c', 'x'], ['/b', '-c', 'y'], ['z']],
  );
  assert.deepEqual(
    [made.config.Shell, made.config.Cmd],
    [
      ['/b', '-c'],
      ['/b', '-c', 'w'],
    ],
  );
  assert.equal(createdBy(made)[0], 'SHELL [/b -c]');
  await refused('FROM a\nSHELL /bin/bash -c\n', 'INSTRUCTION_INVALID', /JSON form/, 2);
});

test('1.4 CMD / ENTRYPOINT: shell form, exec form, nothing at all', async () => {
  const made = await after('CMD echo "a  b"\nENTRYPOINT ["e", "f\\n"]');
  assert.deepEqual(made.config.Cmd, ['/bin/sh', '-c', 'echo "a  b"']);
  assert.deepEqual(made.config.Entrypoint, ['e', 'f\n']);
  assert.equal(made.config.ArgsEscaped, true);
  assert.deepEqual(createdBy(made), ['CMD ["/bin/sh" "-c" "echo \\"a  b\\""]', 'ENTRYPOINT ["e" "f\\n"]']);
  assert.deepEqual((await after('CMD')).config.Cmd, ['/bin/sh', '-c', '']);
  assert.equal((await after('ENTRYPOINT ["x"]')).config.ArgsEscaped, undefined);
});

test('1.4 HEALTHCHECK: tests and times', async () => {
  const flags = '--interval=1m30s --timeout=1.5s --start-period=0s --start-interval=500ms --retries=3';
  const made = await after(`HEALTHCHECK ${flags} CMD curl "x"`);
  assert.deepEqual(made.config.Healthcheck, {
    Test: ['CMD-SHELL', 'curl "x"'],
    Interval: 90e9,
    Timeout: 1.5e9,
    StartInterval: 5e8,
    Retries: 3,
  });
  assert.deepEqual(createdBy(made), [
    'HEALTHCHECK {Test:[CMD-SHELL curl "x"] Interval:1m30s Timeout:1.5s StartPeriod:0s StartInterval:500ms Retries:3}',
  ]);
  assert.deepEqual((await after('HEALTHCHECK CMD ["a", "b"]')).config.Healthcheck, {
    Test: ['CMD', 'a', 'b'],
  });
  assert.deepEqual((await after('HEALTHCHECK none')).config.Healthcheck, { Test: ['NONE'] });
});

test('1.4 HEALTHCHECK: what makes no sense is refused', async () => {
  const cases: readonly (readonly [rest: string, message: RegExp])[] = [
    ['', /needs an argument/],
    ['NONE x', /takes no arguments/],
    ['FOO x', /unknown type "FOO"/],
    ['CMD', /needs a command/],
    ['--interval=1us CMD x', /--interval cannot be less than 1ms/],
    ['--interval=-1s CMD x', /--interval cannot be less than 1ms/],
    ['--timeout=1 CMD x', /invalid duration "1"/],
    ['--timeout=9999999999h CMD x', /invalid duration/],
    ['--retries=-1 CMD x', /not negative, not "-1"/],
    ['--retries=x CMD x', /not "x"/],
  ];
  for (const [rest, message] of cases)
    await refused(`FROM a\nHEALTHCHECK ${rest}\n`, 'INSTRUCTION_INVALID', message, 2);
});

test('1.4 ONBUILD: text for later, no history', async () => {
  const made = await after('ONBUILD RUN  x $y "z" \\\n  w\nonbuild copy a b');
  assert.deepEqual(made.config.OnBuild, ['RUN  x $y "z"   w', 'copy a b']);
  assert.deepEqual(createdBy(made), []);
  for (const line of ['ONBUILD ONBUILD RUN x', 'ONBUILD FROM x', 'ONBUILD MAINTAINER x'])
    await refused(`FROM a\n${line}\n`, 'INSTRUCTION_INVALID', /cannot trigger another|not allowed/, 2);
});

test('1.4 ONBUILD: triggers of an image or a stage run first, and once', async () => {
  const text = 'FROM base AS one\nONBUILD RUN own\nFROM one AS two\nRUN last\nFROM two\nRUN end\n';
  const made = await build(text, {}, { base: { OnBuild: ['ENV A=1', 'RUN first'] } });
  assert.deepEqual(
    runs(made).map(({ args }) => args.at(-1)),
    ['first', 'own', 'last', 'end'],
  );
  assert.equal(made.config.OnBuild, undefined);
  assert.ok(made.config.Env?.includes('A=1'));
});

test('1.4 ONBUILD: a trigger may need further stages, images and heredocs', async () => {
  const OnBuild = [
    'COPY --from=tools /a /b',
    'COPY --from=r.io/x /c /d',
    'COPY <<E /e\n$V\nE',
    'RUN --mount=from=tools,target=/t x',
  ];
  const made = await build('FROM t AS tools\nRUN t\nFROM base\nENV V=1\n', {}, { base: { OnBuild } });
  assert.deepEqual(made.asked.toSorted(), ['base', 'r.io/x', 't']);
  assert.deepEqual(copies(made).at(-1)?.sources, [{ kind: 'inline', name: 'E', content: '\n' }]);
});

test('1.4 ONBUILD: what a trigger does wrong is shown at its FROM', async () => {
  const images = { base: { OnBuild: ['RUM x'] } };
  await refused(
    'ARG x\nFROM base\n',
    'INSTRUCTION_UNKNOWN',
    /"ONBUILD RUM x" of the base image/,
    2,
    {},
    images,
  );
});

test('1.4 MAINTAINER: sets the author', async () => {
  const made = await after('MAINTAINER some  body <x@y>');
  assert.equal(made.author, 'some  body <x@y>');
  assert.deepEqual(createdBy(made), ['MAINTAINER some  body <x@y>']);
  assert.deepEqual(found(made.warnings), ['MaintainerDeprecated@2']);
});

test('1.4 ARG: in history, not in the config', async () => {
  const made = await build('FROM a\nARG A=1 B C="x y"\n', { buildArgs: { A: '2' } });
  assert.deepEqual(createdBy(made), ['ARG A=2 B C=x y']);
  assert.deepEqual(made.config.Env, [PATH]);
  assert.deepEqual(
    made.history.map(({ vertex }) => vertex),
    [undefined],
  );
  await refused('FROM a\nARG =x\n', 'INSTRUCTION_INVALID', /names cannot be blank/, 2);
});

test('history: one entry for each instruction but FROM and ONBUILD, in the words of BuildKit', async () => {
  const lines =
    'ARG D=dd\nENV A=1 B=\nLABEL x=$D y=1 z=\nEXPOSE 81/udp 80\nUSER $D\nWORKDIR /x1\nVOLUME /a $D\nSTOPSIGNAL SIGTERM\n' +
    'SHELL ["/a", "-c"]\nRUN foo\nRUN ["a", "b", "c\\"d"]\nCMD ["a", "b\\nc"]\nONBUILD RUN x\n' +
    'COPY --link --from=i --exclude=q --chmod=755 --chown=1:2 a b/\nCOPY --parents a b c/\nCOPY <<a.txt <<b /x/\na.txt\nb\n' +
    'ADD --checksum=sha256:' +
    `${'0'.repeat(64)} https://u/v /z/\nMAINTAINER a b\nRUN <<E\ny\nE\nRUN <<E\n#!/x\nE`;
  assert.deepEqual(await history(lines), [
    'ARG D=dd',
    'ENV A=1 B=',
    'LABEL x=dd y=1 z=',
    'EXPOSE [80/tcp 81/udp]',
    'USER dd',
    'WORKDIR /x1',
    'VOLUME [/a dd]',
    'STOPSIGNAL SIGTERM',
    'SHELL [/a -c]',
    'RUN |1 D=dd /a -c foo # buildkit',
    'RUN |1 D=dd a b c"d # buildkit',
    'CMD ["a" "b\\nc"]',
    'COPY --chown=1:2 --chmod=755 a b/ # buildkit',
    'COPY --parents a b c/ # buildkit',
    'COPY <<a.txt <<b /x/ # buildkit',
    'ADD https://u/v /z/ # buildkit',
    'MAINTAINER a b',
    'RUN |1 D=dd /a -c y\n # buildkit',
    'RUN |1 D=dd /a -c /dev/pipes/E # buildkit',
  ]);
});

test('history: RUN shows every argument declared so far, once, with the value that it sees', async () => {
  assert.deepEqual(
    (await history('ARG A=1\nARG B\nARG A=2\nENV A=3\nRUN x')).at(-1),
    'RUN |2 A=3 B= /bin/sh -c x # buildkit',
  );
});

test("history: entries have BuildKit's comment, and a vertex where there is a layer", async () => {
  const made = await after('ENV A=1\nRUN x\nWORKDIR /w\nCOPY a b\nWORKDIR /');
  assert.deepEqual(
    made.history.map(({ comment, vertex }) => [comment, vertex?.op.kind]),
    [undefined, 'run', 'copy', 'copy', undefined].map((kind) => ['buildkit.dockerfile.v0', kind]),
  );
});

test('config: fields are in the order in which other builders write them', async () => {
  const made = await after(
    'SHELL ["/s"]\nONBUILD RUN x\nHEALTHCHECK NONE\nCMD ["c"]\nSTOPSIGNAL 9\nLABEL a=b\nWORKDIR /w\nVOLUME /v\nENTRYPOINT ["e"]\nEXPOSE 1\nUSER u',
  );
  assert.deepEqual(Object.keys(made.config), [
    ...['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'],
    ...['ArgsEscaped', 'Healthcheck', 'OnBuild', 'Shell'],
  ]);
});
