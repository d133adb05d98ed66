/** Reading config.json, state.json and health.json: what does not parse is absent (see atomic-file.ts). */
import { join } from 'node:path';
import { readJsonIfExists } from '../base/atomic-file.ts';
import { isJsonObject, type JsonObject } from '../base/json.ts';
import type {
  ContainerConfig,
  ContainerState,
  ContainerStatus,
  HeldResources,
  HealthProbe,
  HealthState,
  ProcessIdentity,
} from './container.ts';
import type { MemoryReport } from './runtime.ts';

const STATUSES: readonly string[] = ['created', 'running', 'paused', 'restarting', 'exited'];
const CREATED: ContainerState = {
  status: 'created',
  exitCode: 0,
  oomKilled: false,
  error: '',
  restartCount: 0,
};

export function readConfig(directory: string): ContainerConfig | undefined {
  const value = readJsonIfExists(join(directory, 'config.json'));
  if (!isJsonObject(value) || value['version'] !== 1) return undefined;
  const complete =
    typeof value['id'] === 'string' &&
    typeof value['name'] === 'string' &&
    isJsonObject(value['image']) &&
    isJsonObject(value['input']);
  // Written by us, whole or not at all: beyond this it is what its type says.
  return complete ? (value as unknown as ContainerConfig) : undefined;
}

/** A container without state.json was created and never started. */
export function readState(directory: string): ContainerState {
  const value = readJsonIfExists(join(directory, 'state.json'));
  const health = readHealth(directory);
  if (!isJsonObject(value)) return CREATED;
  const status = value['status'];
  const optional = {
    process: identityOf(value['process']),
    monitor: identityOf(value['monitor']),
    startedAt: textOf(value, 'startedAt'),
    finishedAt: textOf(value, 'finishedAt'),
    health,
  };
  const present = Object.entries(optional).filter(([, each]) => each !== undefined);
  return {
    status: typeof status === 'string' && STATUSES.includes(status) ? (status as ContainerStatus) : 'exited',
    ...(Object.fromEntries(present) as Partial<ContainerState>),
    exitCode: numberOf(value, 'exitCode'),
    oomKilled: value['oomKilled'] === true,
    error: textOf(value, 'error') ?? '',
    restartCount: numberOf(value, 'restartCount'),
  };
}

export function readHeld(directory: string): HeldResources | undefined {
  const value = readJsonIfExists(join(directory, 'held.json'));
  if (!isJsonObject(value) || typeof value['starter'] !== 'string') return undefined;
  // As config.json: written by us, whole or not at all.
  return value as unknown as HeldResources;
}

/** Of the latest run that something was killed in for want of memory. */
export function readMemoryReport(directory: string): MemoryReport | undefined {
  const value = readJsonIfExists(join(directory, 'memory.json'));
  if (!isJsonObject(value)) return undefined;
  const { limit, peak } = value;
  return {
    kills: numberOf(value, 'kills'),
    limit: typeof limit === 'number' ? limit : undefined,
    peak: typeof peak === 'number' ? peak : undefined,
  };
}

function readHealth(directory: string): HealthState | undefined {
  const value = readJsonIfExists(join(directory, 'health.json'));
  if (!isJsonObject(value)) return undefined;
  const { status } = value;
  if (status !== 'starting' && status !== 'healthy' && status !== 'unhealthy') return undefined;
  const log = Array.isArray(value['log']) ? value['log'].filter(isJsonObject) : [];
  return { status, failingStreak: numberOf(value, 'failingStreak'), log: log.map(probeOf) };
}

function probeOf(value: JsonObject): HealthProbe {
  return {
    start: textOf(value, 'start') ?? '',
    end: textOf(value, 'end') ?? '',
    exitCode: numberOf(value, 'exitCode'),
    output: textOf(value, 'output') ?? '',
  };
}

function identityOf(value: unknown): ProcessIdentity | undefined {
  if (!isJsonObject(value)) return undefined;
  const { pid, start } = value;
  return typeof pid === 'number' && typeof start === 'string' ? { pid, start } : undefined;
}

function textOf(value: JsonObject, key: string): string | undefined {
  const text = value[key];
  return typeof text === 'string' && text !== '' ? text : undefined;
}

function numberOf(value: JsonObject, key: string): number {
  const number = value[key];
  return typeof number === 'number' ? number : 0;
}
