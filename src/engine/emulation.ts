/**
 * Whether programs of another architecture run here: natively, or by an interpreter in binfmt_misc.
 *
 * Asked before anything runs, since `exec format error` in the tenth step helps nobody.
 * Source: kernel documentation, admin-guide/binfmt-misc.rst.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { namesIn } from '../base/directory-names.ts';
import { TsbuildError } from '../base/errors.ts';
import type { Vertex } from '../graph/graph.ts';
import type { Platform } from '../oci/documents.ts';
import { formatPlatform, isCompatible } from '../oci/platform.ts';
import { inOrder } from '../solver/solve.ts';

const DIRECTORY = '/proc/sys/fs/binfmt_misc';
const QEMU: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  arm64: 'aarch64',
  '386': 'i386',
  loong64: 'loongarch64',
};

/** Throws PLATFORM_NOT_FOUND at the first RUN that cannot run. `machine`: the host's own platform. */
export function checkRunnable(targets: readonly Vertex[], machine: Platform): void {
  for (const vertex of targets.flatMap(inOrder)) {
    if (vertex.op.kind !== 'run') continue;
    const { platform } = vertex.op;
    if (runsNatively(platform, machine) || isEmulated(platform)) continue;
    throw new TsbuildError(
      'PLATFORM_NOT_FOUND',
      `cannot run programs for ${formatPlatform(platform)} on this machine (${formatPlatform(machine)}): no emulator is registered`,
      {
        hint: 'install qemu-user-static (it registers with binfmt_misc), or build this stage with FROM --platform=$BUILDPLATFORM',
        ...(vertex.source === undefined ? {} : { source: vertex.source }),
      },
    );
  }
}

function runsNatively(platform: Platform, machine: Platform): boolean {
  return (
    isCompatible(platform, machine) ||
    // The kernel runs its smaller sister's programs.
    (machine.architecture === 'amd64' && platform.architecture === '386') ||
    platform.architecture === machine.architecture
  );
}

function isEmulated({ architecture }: Platform): boolean {
  const wanted = `qemu-${QEMU[architecture] ?? architecture}`;
  return namesIn(DIRECTORY).some((name) => name.startsWith(wanted) && isEnabled(name));
}

function isEnabled(name: string): boolean {
  try {
    return readFileSync(join(DIRECTORY, name), 'utf8').startsWith('enabled');
  } catch {
    return false;
  }
}
