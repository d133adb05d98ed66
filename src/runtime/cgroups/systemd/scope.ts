/**
 * The systemd driver: a container in a transient scope of systemd's, which keeps its place in the tree of slices.
 *
 * A scope must have a process when it is made. A placeholder (cat(1), which ends with us) is its first one, so that
 * the container itself is born in the scope's cgroup as with the other driver, and goes once the container runs. From
 * there on the scope lives as long as there is a process in it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { TsbuildError } from '../../../base/errors.ts';
import type { CgroupDescription, CgroupPlace } from '../cgroup.ts';
import { describeCgroup } from '../describe.ts';
import { holderOf, type Hierarchies } from '../hierarchies.ts';
import { killAll } from '../members.ts';
import type { Resources } from '../resources.ts';
import { connectSystemd, type BusConnection } from './dbus-connection.ts';
import type { DBusValue } from './dbus-types.ts';
import { limitProperties, parseUnitPath, scopeProperties, type Property, type UnitName } from './unit.ts';

export interface ScopeRequest {
  readonly hierarchies: Hierarchies;
  /** `slice:prefix:name`. */
  readonly path: string;
  readonly resources: Resources;
  /** Before the subjects of errors. */
  readonly subject?: string;
}

/** A scope that waits for its container. Disposing ends the placeholder: without a container the scope goes, too. */
export interface Scope extends Disposable {
  readonly cgroup: CgroupDescription;
}

const MANAGER = 'org.freedesktop.systemd1.Manager';
const ROOT = '/org/freedesktop/systemd1';
const ROUNDS = 1500;

/** Throws SYSTEMD_FAILED, SPEC_INVALID, KERNEL_UNSUPPORTED. Dispose of it when the container has started, or failed to. */
export async function startScope(request: ScopeRequest): Promise<Scope> {
  const name = parseUnitPath(request.path);
  using bus = await connectSystemd();
  const placeholder = await startPlaceholder();
  try {
    const control = await makeUnit(bus, name, request, placeholder.pid ?? 0);
    const cgroup = describeCgroup({
      hierarchies: request.hierarchies,
      path: control,
      resources: request.resources,
      membership: 'all',
      shared: true,
      ...(request.subject === undefined ? {} : { subject: request.subject }),
    });
    return {
      cgroup: { ...cgroup, place: { ...cgroup.place, driver: 'systemd', unit: name.unit } },
      [Symbol.dispose]: () => void placeholder.kill('SIGKILL'),
    };
  } catch (error) {
    placeholder.kill('SIGKILL');
    throw error;
  }
}

/** New limits for systemd; the files are updateResources' affair (update.ts), which comes after it. */
export async function updateScope(place: CgroupPlace, resources: Resources): Promise<void> {
  const properties = limitProperties(resources, versionOf(holderOf(place, 'memory'), place.v1));
  if (place.unit === undefined || properties.length === 0) return;
  using bus = await connectSystemd();
  await callManager(bus, 'SetUnitProperties', 'sba(sv)', [place.unit, true, toValues(properties)]);
}

/** Ends the scope and everything in it; idempotent. The cgroups are removeCgroup's affair, which comes after it. */
export async function stopScope(place: CgroupPlace): Promise<void> {
  if (place.unit === undefined) return;
  // why: the first process of a pid namespace does not hear SIGTERM, and systemd would wait for a minute and a half.
  await killAll(place, 'SIGKILL');
  using bus = await connectSystemd();
  for (const [member, signature, values] of [
    ['StopUnit', 'ss', [place.unit, 'replace']],
    ['ResetFailedUnit', 's', [place.unit]],
  ] as const)
    await callManager(bus, member, signature, values).catch((error: unknown) => {
      if (!/NoSuchUnit/.test(String(error))) throw error;
    });
}

function startPlaceholder(): Promise<ChildProcess> {
  // why: its standard input closes with us, so it does not outlive us.
  const child = spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore'] });
  return new Promise((resolve, reject) => {
    child.once('spawn', () => resolve(child));
    child.once('error', (error) =>
      reject(new TsbuildError('SYSTEMD_FAILED', `cannot start a process for the scope: ${error.message}`)),
    );
  });
}

/** Which properties count: systemd takes v1's for what it has mounted as v1. */
function versionOf(memory: { readonly version: 1 | 2 } | undefined, v1: readonly unknown[]): 1 | 2 {
  return memory?.version ?? (v1.length > 0 ? 1 : 2);
}

const toValues = (properties: readonly Property[]): readonly DBusValue[] =>
  properties.map(([name, value]) => [name, value]);

/** Path of the unit's cgroup, below the root of each hierarchy. */
async function makeUnit(
  bus: BusConnection,
  name: UnitName,
  { hierarchies, resources }: ScopeRequest,
  pid: number,
): Promise<string> {
  const properties = [
    ...scopeProperties(name, pid),
    ...limitProperties(resources, versionOf(holderOf(hierarchies, 'memory'), hierarchies.v1)),
  ];
  await callManager(bus, 'StartTransientUnit', 'ssa(sv)a(sa(sv))', [
    name.unit,
    'fail',
    toValues(properties),
    [],
  ]);
  const [path] = await callManager(bus, 'LoadUnit', 's', [name.unit]);
  for (let round = 0; round < ROUNDS; round += 1) {
    const state = await propertyOf(bus, path as string, 'Unit', 'ActiveState');
    if (state === 'active') return propertyOf(bus, path as string, 'Scope', 'ControlGroup');
    if (state === 'failed') break;
    await sleep(round < 20 ? 2 : 20);
  }
  throw new TsbuildError('SYSTEMD_FAILED', `systemd does not start the scope ${JSON.stringify(name.unit)}`, {
    hint: `look at "systemctl status ${name.unit}"`,
  });
}

function callManager(
  bus: BusConnection,
  member: string,
  signature: string,
  values: readonly DBusValue[],
): Promise<readonly DBusValue[]> {
  return bus.call({ path: ROOT, interface: MANAGER, member, signature, arguments: values });
}

async function propertyOf(
  bus: BusConnection,
  path: string,
  interfaceName: string,
  name: string,
): Promise<string> {
  const [variant] = await bus.call({
    path,
    interface: 'org.freedesktop.DBus.Properties',
    member: 'Get',
    signature: 'ss',
    arguments: [`org.freedesktop.systemd1.${interfaceName}`, name],
  });
  return (variant as { readonly value: string }).value;
}
