/** The launcher's plan reader under AddressSanitizer, fed with plans that were damaged at random. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { describeCgroup } from '../../src/runtime/cgroups/describe.ts';
import { containerDevices } from '../../src/runtime/cgroups/device-rules.ts';
import { createContainerSpec } from '../../src/runtime/default-spec.ts';
import { layOut } from '../../src/runtime/layout.ts';
import { PLAN_SOURCES } from '../../bench/native-fuzzers.ts';
import { encodePlan } from '../../native/plan.ts';

function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at))
    if (existsSync(join(at, 'package.json'))) return at;
}

/** Reads a plan, damages copies of it with a generator of its own, and walks whatever is accepted. */
const HARNESS = `
#include "plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static uint32_t state = 1;
static uint32_t next(void) { state ^= state << 13; state ^= state >> 17; return state ^= state << 5; }
static struct plan plan;
int main(int argc, char **argv)
{
	static uint8_t original[1 << 20];
	FILE *file = fopen(argv[1], "rb");
	size_t size = fread(original, 1, sizeof original, file);
	unsigned accepted = 0;
	uint32_t bad;
	if (plan_read(&plan, original, size, &bad) != 0) return 1;
	plan_free(&plan);
	for (int round = 0; round < 200000; round++) {
		size_t length = round % 3 == 0 ? next() % (size + 1) : size;
		uint8_t *copy = malloc(length ? length : 1);
		memcpy(copy, original, length);
		for (unsigned n = next() % 4; n > 0 && length > 0; n--)
			copy[next() % 4 == 0 ? next() % (length < 64 ? length : 64) : next() % length] = (uint8_t)next();
		if (round % 3 == 0 && length >= 12) { uint32_t total = (uint32_t)length; memcpy(copy + 8, &total, 4); }
		if (plan_read(&plan, copy, length, &bad) == 0) {
			accepted++;
			for (char **arg = plan.argv; *arg; arg++) if (strlen(*arg) > length) return 3;
		}
		plan_free(&plan);
		free(copy);
	}
	printf("%u\\n", accepted);
	return 0;
}
`;

test('no damaged plan makes the reader touch memory that is not its own', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tsbuild-fuzz-'));
  try {
    const spec = createContainerSpec({
      id: 'x',
      mounts: [
        {
          kind: 'overlay',
          lower: ['/a', { index: '/i', tars: ['/t', '/u'], device: 'file', attached: false }, '/b'],
          upper: '/u',
          work: '/w',
        },
      ],
      args: ['a', 'b'],
      env: ['C=d'],
      cwd: '/',
      user: { uid: 0, gid: 0, additionalGids: [1, 2, 3] },
      home: '/',
      hostname: 'h',
      network: 'none',
      terminal: true,
      resolvConf: '',
      extraHosts: [],
      volumes: [
        {
          kind: 'assembled',
          mounts: [{ kind: 'bind', source: '/s', readonly: true }],
          source: '/i',
          target: '/t',
          readonly: true,
        },
        {
          kind: 'assembled',
          mounts: [{ kind: 'overlay', lower: ['/a', '/b'], program: '/p' }],
          source: '/i',
          target: '/u',
          readonly: true,
        },
        { kind: 'tmpfs', target: '/x', mode: 0o755, size: 5 },
      ],
    });
    const at = (version: 1 | 2, controllers: readonly string[]) => ({
      ...{ version, controllers, self: '/' },
      mountPoint: `/cg/${controllers[0] ?? ''}`,
    });
    const cgroup = describeCgroup({
      hierarchies: { v1: [at(1, ['memory']), at(1, ['cpuset'])], unified: at(2, ['io', 'pids']) },
      path: '/a/b',
      resources: {
        memory: { limit: 1 },
        pids: { limit: 2 },
        blockIO: { weight: 10 },
        devices: containerDevices([], { privileged: false }),
      },
      membership: 'all',
    });
    writeFileSync(
      join(directory, 'plan'),
      encodePlan(
        layOut(
          {
            ...spec,
            rlimits: [{ type: 'RLIMIT_CORE', soft: 0, hard: 1 }],
            oomScoreAdj: 5,
            noNewPrivileges: true,
            root: { ...spec.root, readonly: true },
            cgroup,
          },
          { arch: 'amd64', cgroup2: true, bounding: (1n << 41n) - 1n, mountPoint: '/m' },
        ),
      ),
    );
    writeFileSync(join(directory, 'fuzz.c'), HARNESS);
    const native = join(packageRoot(), 'native');
    execFileSync(
      'cc',
      [
        '-g',
        '-O1',
        '-D_GNU_SOURCE',
        '-fsanitize=address,undefined',
        '-fno-sanitize-recover=all',
        `-I${join(native, 'launch')}`,
        '-o',
        join(directory, 'fuzz'),
        join(directory, 'fuzz.c'),
        ...PLAN_SOURCES.map((source) => join(native, source)),
      ],
      { stdio: 'pipe' },
    );
    const ended = spawnSync(join(directory, 'fuzz'), [join(directory, 'plan')], {
      encoding: 'utf8',
      timeout: 120_000,
    });
    assert.equal(ended.status, 0, ended.stderr);
    assert.ok(Number(ended.stdout) > 1000, `only ${ended.stdout.trim()} damaged plans were accepted`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
