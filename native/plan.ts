/**
 * Encoder of the launcher's binary plan (launch/plan.h): operations in, bytes out. Pure.
 *
 * Each operation carries `subject`, the part of the container spec that it comes from; an error of the launcher
 * names an operation by its index, and the subject makes a message of it.
 */
import { TsbuildError } from '../src/base/errors.ts';
import type { Mount } from './mount.ts';

const MAGIC = 0x50425354;
const VERSION = 1;

const CODES = {
  namespaces: 1,
  root: 2,
  mount: 3,
  bind: 4,
  assembled: 5,
  file: 6,
  mkdir: 7,
  mknod: 8,
  symlink: 9,
  mask: 10,
  readonly: 11,
  rootReadonly: 12,
  terminal: 13,
  pivot: 14,
  hostname: 15,
  loopback: 16,
  cwd: 17,
  rlimit: 18,
  umask: 19,
  oom: 20,
  credentials: 21,
  noNewPrivs: 22,
  seccomp: 23,
  exec: 24,
  cgroupSelf: 80,
  cgroupNamespace: 81,
  join: 200,
  cgroupMake: 210,
  cgroupEnable: 211,
  cgroupWrite: 212,
  cgroupTasks: 213,
  cgroupBorn: 214,
  cgroupDevices: 215,
  cgroupEnter: 310,
} as const;

const FLAG_READONLY = 1;
const FLAG_RECURSIVE = 2;
const FLAG_VOLATILE = 4;

/** CLONE_NEW* of clone(2). */
export const NAMESPACE = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  pid: 0x20000000,
  network: 0x40000000,
} as const;

/** MOUNT_ATTR_* of mount_setattr(2). */
export const ATTRIBUTE = { readonly: 1, nosuid: 2, nodev: 4, noexec: 8 } as const;

export type PlanOp = { readonly subject: string } & (
  | { readonly op: 'namespaces'; readonly flags: number }
  /** `point`: an empty directory of the host where the root is attached while it is built. */
  | { readonly op: 'root'; readonly mount: Mount; readonly point: string }
  | {
      readonly op: 'mount';
      readonly type: string;
      readonly target: string;
      readonly attributes: number;
      readonly options: readonly (readonly [string, string])[];
    }
  | {
      readonly op: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
      readonly recursive: boolean;
    }
  | {
      readonly op: 'assembled';
      readonly mount: Mount;
      readonly point: string;
      readonly inside: string;
      readonly target: string;
      readonly readonly: boolean;
    }
  | {
      readonly op: 'file';
      readonly target: string;
      readonly content: Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly readonly: boolean;
    }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | {
      readonly op: 'mknod';
      readonly path: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    }
  | { readonly op: 'symlink'; readonly target: string; readonly path: string }
  | { readonly op: 'mask' | 'readonly'; readonly path: string }
  | { readonly op: 'rootReadonly' | 'pivot' | 'loopback' | 'noNewPrivs' }
  | { readonly op: 'terminal'; readonly uid: number; readonly gid: number }
  | { readonly op: 'hostname'; readonly name: string }
  | { readonly op: 'cwd'; readonly path: string }
  | { readonly op: 'rlimit'; readonly resource: number; readonly soft: number; readonly hard: number }
  | { readonly op: 'umask'; readonly mask: number }
  | { readonly op: 'oom'; readonly score: number }
  | {
      readonly op: 'credentials';
      readonly uid: number;
      readonly gid: number;
      readonly groups: readonly number[];
      readonly bounding: bigint;
      readonly effective: bigint;
    }
  | { readonly op: 'seccomp'; readonly program: Uint8Array }
  /** The namespace at `path` (flag as in NAMESPACE) instead of a new one. */
  | { readonly op: 'join'; readonly namespace: number; readonly path: string }
  /** Done by the parent while the child waits: the child's pid goes into this cgroup.procs file. */
  | { readonly op: 'cgroupEnter'; readonly path: string }
  /**
   * Every level of `path` below a hierarchy's mount point. A cgroup that is there already must have no process in it
   * (unless `shared`: EBUSY). `cpuset`: a v1 hierarchy whose new cgroups need processors of their parent.
   */
  | {
      readonly op: 'cgroupMake';
      readonly mountPoint: string;
      readonly path: string;
      readonly cpuset: boolean;
      readonly shared: boolean;
    }
  /** v2: subtree_control of the mount point and of every level down to `path`. */
  | {
      readonly op: 'cgroupEnable';
      readonly mountPoint: string;
      readonly path: string;
      readonly required: readonly string[];
      readonly optional: readonly string[];
    }
  | {
      readonly op: 'cgroupWrite';
      /** The first whose file is there. */
      readonly choices: readonly (readonly [file: string, value: string])[];
      /** A file that is not there, or refuses, is no error. */
      readonly optional: boolean;
    }
  /** A v1 `tasks` file that `cgroupSelf` enters. */
  | { readonly op: 'cgroupTasks'; readonly path: string }
  /** Directory of the v2 cgroup that the child is born in. */
  | { readonly op: 'cgroupBorn'; readonly path: string }
  | { readonly op: 'cgroupDevices'; readonly directory: string; readonly program: Uint8Array }
  /** Done by the child, before it makes its cgroup namespace, before it mounts anything. */
  | { readonly op: 'cgroupSelf' | 'cgroupNamespace' }
  | {
      readonly op: 'exec';
      readonly args: readonly string[];
      readonly env: readonly string[];
      readonly candidates: readonly string[];
    }
);

/** The plan's bytes. Throws SPEC_INVALID for a string with a NUL in it. */
export function encodePlan(ops: readonly PlanOp[]): Uint8Array {
  const parts: Buffer[] = [];
  for (const op of ops) {
    const payload = payloadOf(op);
    const head = Buffer.alloc(8);
    head.writeUInt16LE(CODES[op.op], 0);
    head.writeUInt32LE(payload.byteLength, 4);
    parts.push(head, payload, Buffer.alloc((8 - (payload.byteLength % 8)) % 8));
  }
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt16LE(VERSION, 4);
  header.writeUInt32LE(16 + body.byteLength, 8);
  header.writeUInt32LE(ops.length, 12);
  return Buffer.concat([header, body]);
}

function payloadOf(op: PlanOp): Buffer {
  const text = (...values: readonly string[]): Buffer[] => values.map((value) => cString(value, op.subject));
  switch (op.op) {
    case 'namespaces':
      return u32(op.flags);
    case 'root':
      return mountPayload(op.mount, 0, op.point, op.subject);
    case 'mount':
      return Buffer.concat([
        u32(op.attributes, op.options.length),
        ...text(op.type, op.target, ...op.options.flat()),
      ]);
    case 'bind':
      return Buffer.concat([u32(flagsOf(op.readonly, op.recursive)), ...text(op.source, op.target)]);
    case 'assembled':
      return Buffer.concat([
        mountPayload(op.mount, flagsOf(op.readonly, false), op.point, op.subject),
        ...text(op.inside, op.target),
      ]);
    case 'file':
      return Buffer.concat([
        u32(op.mode, op.uid, op.gid, flagsOf(op.readonly, false), op.content.byteLength),
        ...text(op.target),
        op.content,
      ]);
    case 'mkdir':
      return Buffer.concat([u32(op.mode), ...text(op.path)]);
    case 'mknod':
      return Buffer.concat([u32(op.mode, op.major, op.minor), ...text(op.path)]);
    case 'symlink':
      return Buffer.concat(text(op.target, op.path));
    case 'mask':
    case 'readonly':
    case 'cwd':
      return Buffer.concat(text(op.path));
    case 'rootReadonly':
    case 'pivot':
    case 'loopback':
    case 'noNewPrivs':
      return Buffer.alloc(0);
    case 'terminal':
      return u32(op.uid, op.gid);
    case 'hostname':
      return Buffer.concat(text(op.name));
    case 'rlimit':
      return Buffer.concat([u32(op.resource, 0), u64(limit(op.soft), limit(op.hard))]);
    case 'umask':
      return u32(op.mask);
    case 'oom':
      return u32(op.score >>> 0);
    case 'credentials':
      return Buffer.concat([
        u32(op.uid, op.gid, op.groups.length, 0),
        u64(op.bounding, op.effective, op.effective, 0n),
        u32(...op.groups),
      ]);
    case 'join':
      return Buffer.concat([u32(op.namespace), ...text(op.path)]);
    case 'cgroupEnter':
    case 'cgroupTasks':
    case 'cgroupBorn':
      return Buffer.concat(text(op.path));
    case 'cgroupMake':
      return Buffer.concat([u32((op.cpuset ? 1 : 0) | (op.shared ? 2 : 0)), ...text(op.mountPoint, op.path)]);
    case 'cgroupEnable':
      return Buffer.concat([
        u32(op.required.length, op.optional.length),
        ...text(op.mountPoint, op.path, ...op.required, ...op.optional),
      ]);
    case 'cgroupWrite':
      return Buffer.concat([u32(op.optional ? 1 : 0, op.choices.length), ...text(...op.choices.flat())]);
    case 'cgroupDevices':
      return Buffer.concat([u32(op.program.byteLength), ...text(op.directory), op.program]);
    case 'cgroupSelf':
    case 'cgroupNamespace':
      return Buffer.alloc(0);
    case 'seccomp':
      return Buffer.from(op.program);
    case 'exec':
      return Buffer.concat([
        u32(op.args.length, op.env.length, op.candidates.length),
        ...text(...op.args, ...op.env, ...op.candidates),
      ]);
  }
}

function mountPayload(mount: Mount, flags: number, point: string, subject: string): Buffer {
  const text = (...values: readonly string[]): Buffer[] => values.map((value) => cString(value, subject));
  if (mount.kind === 'bind') return Buffer.concat([u32(0, flags, 0), ...text(point, mount.source)]);
  const all = flags | (mount.volatile === true ? FLAG_VOLATILE : 0);
  return Buffer.concat([
    u32(1, all, mount.lower.length),
    ...text(point, mount.upper ?? '', mount.work ?? '', ...mount.lower),
  ]);
}

function flagsOf(isReadonly: boolean, recursive: boolean): number {
  return (isReadonly ? FLAG_READONLY : 0) | (recursive ? FLAG_RECURSIVE : 0);
}

function cString(value: string, subject: string): Buffer {
  if (value.includes('\0')) throw new TsbuildError('SPEC_INVALID', `${subject} has a NUL byte in it`);
  return Buffer.from(`${value}\0`, 'utf8');
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * index);
  return bytes;
}

function u64(...values: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(8 * values.length);
  for (const [index, value] of values.entries()) bytes.writeBigUInt64LE(value, 8 * index);
  return bytes;
}

/** RLIM_INFINITY for Infinity. */
function limit(value: number): bigint {
  return Number.isFinite(value) ? BigInt(value) : 0xffffffffffffffffn;
}
