/** What `tsbuild doctor` makes of a machine. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cgroupFinding, examineMachine, kernelFinding } from '../../src/engine/doctor.ts';

test('a kernel is new enough by its number, not by its letters', () => {
  for (const [release, state] of [
    ['6.8.0-45-generic', 'ok'],
    ['6.18.5', 'ok'],
    ['7.0.0-rc1', 'ok'],
    ['6.7.12', 'limited'],
    ['5.15.0', 'limited'],
    ['custom', 'limited'],
  ] as const)
    assert.equal(kernelFinding(release, 'x64').state, state, release);
});

test('cgroups are v1, v2 or both, and what is lacking is named', () => {
  const at = (version: 1 | 2, ...controllers: string[]) => ({
    version,
    controllers,
    mountPoint: '/m',
    self: '/',
  });
  const all = ['cpu', 'cpuset', 'memory', 'pids', 'io'];
  assert.deepEqual(
    [
      cgroupFinding({ v1: [], unified: at(2, ...all) }).detail,
      cgroupFinding({ v1: [at(1, 'cpu', 'cpuset', 'memory'), at(1, 'pids', 'blkio')] }).detail,
      cgroupFinding({ v1: [at(1, 'cpu', 'cpuset'), at(1, 'pids')], unified: at(2, 'io') }).detail,
    ],
    [
      'v2: cpu, cpuset, memory, pids, io',
      'v1: cpu, cpuset, memory, pids, io',
      'v1 and v2 (hybrid), without memory',
    ],
  );
  assert.equal(cgroupFinding(undefined).state, 'limited');
});

test('without root nothing is tried, and the rest is told', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-doctor-'));
  try {
    const findings = await examineMachine({
      root: join(directory, 'state/deep'),
      host: { now: () => 0, unique: () => 'x' },
      ...{ uid: 1000, kernel: '6.8.0', architecture: 'x64', path: [directory] },
    });
    const bySubject = new Map(findings.map((finding) => [finding.subject, finding]));
    assert.deepEqual(
      ['rights', 'kernel', 'storage driver', 'git'].map((subject) => bySubject.get(subject)?.state),
      ['missing', 'ok', 'limited', 'limited'],
    );
    assert.match(bySubject.get('state root')?.detail ?? '', /\/state\/deep: .* free$/);
    assert.ok(findings.every(({ state, hint }) => state !== 'missing' || hint !== undefined));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
