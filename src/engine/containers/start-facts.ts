/** What a container's start finds out: kernel, volumes, namespaces of other containers. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import { shortID } from '../../runtime/container.ts';
import type { Engine } from '../engine.ts';
import { claimRange } from './id-ranges.ts';
import type { StartFacts } from './isolation.ts';

export function startFacts(engine: Engine, containerID: string): StartFacts {
  const { root } = engine.options;
  return {
    firstId: () =>
      claimRange(
        {
          root: join(root, 'userns'),
          host: engine.host,
          containerExists: (id) => existsSync(join(root, 'containers', id)),
        },
        containerID,
      ),
    volumeDirectory: (name) => engine.volumes.require(name).mountpoint,
    sharerOf: (container) => sharerOf(engine, container),
    namespacePath: (container, kind) => `/proc/${runningPid(engine, container)}/ns/${kind}`,
    sharedMemory: ['/dev/shm', '/dev/mqueue'].filter((path) => existsSync(path)),
    arch: engine.options.platform.architecture,
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
  };
}

function sharerOf(engine: Engine, container: string): { readonly pid: number; readonly started: bigint } {
  const { id, config, state } = engine.containers.require(container);
  if (config.isolation.namespaces.ipc?.kind === 'none')
    throw new TsbuildError('SPEC_INVALID', `container ${shortID(id)}: non-shareable IPC`, {
      hint: 'make the other container with --ipc shareable',
    });
  return { pid: runningPid(engine, container), started: BigInt(state.process?.start ?? '0') };
}

/** Pid of another container's first process. Throws CONTAINER_NOT_FOUND, CONTAINER_NOT_RUNNING. */
export function runningPid(engine: Engine, container: string): number {
  const { id, state } = engine.containers.require(container);
  if (state.process !== undefined) return state.process.pid;
  throw new TsbuildError(
    'CONTAINER_NOT_RUNNING',
    `cannot join the namespaces of a non running container: ${shortID(id)}`,
    { hint: 'start it first' },
  );
}
