/** Encoder of the launcher's binary plan (launch/plan.h): operations in, bytes out. Pure. */
import { TsbuildError } from '../src/base/errors.ts';
import { lowerStrings, type Mount } from './mount.ts';
import type { PlanOp, RootTree } from './plan-ops.ts';

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
  init: 100,
  cgroupMake: 210,
  cgroupEnable: 211,
  cgroupWrite: 212,
  cgroupTasks: 213,
  cgroupBorn: 214,
  cgroupDevices: 215,
  cgroupRealtime: 216,
  attach: 25,
  sync: 26,
  hook: 27,
  sysctl: 28,
  domainname: 29,
  execCheck: 30,
  keyring: 31,
  personality: 32,
  scheduler: 33,
  ioPriority: 34,
  affinity: 35,
  waitStart: 36,
  label: 37,
  device: 38,
  chroot: 39,
  chrootAlone: 46,
  detach: 47,
  leave: 48,
  state: 40,
  preserve: 41,
  memoryPolicy: 42,
  rootPropagation: 43,
  home: 44,
  ready: 45,
  join: 200,
  enter: 201,
  tree: 202,
  foreignTree: 209,
  idmap: 203,
  timeOffsets: 204,
  startSocket: 205,
  listener: 206,
  node: 207,
  rootTree: 208,
  servedTree: 230,
  hookStreams: 240,
  streamsOwner: 241,
  idMaps: 300,
  parentOom: 301,
  parentHook: 308,
  console: 309,
  cgroupEnter: 310,
  netDevice: 321,
  notify: 331,
  pidfd: 330,
} as const;

const FLAG_READONLY = 1;
const FLAG_RECURSIVE = 2;
const FLAG_VOLATILE = 4;
const FLAG_IDMAP_RECURSIVE = 16;
const FLAG_NOFOLLOW = 32;

/** Of which padding is made, and what says nothing. */
const ZEROS = Buffer.alloc(8);

/** The plan's bytes. Throws SPEC_INVALID for a string with a NUL in it. */
export function encodePlan(ops: readonly PlanOp[]): Uint8Array {
  const parts: Buffer[] = [];
  for (const op of ops) {
    const payload = payloadOf(op);
    parts.push(u32(CODES[op.op], payload.byteLength), payload);
    if (payload.byteLength % 8 !== 0) parts.push(ZEROS.subarray(payload.byteLength % 8));
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
      return u32(
        op.flags,
        op.propagation ?? 0,
        (op.survive === true ? 1 : 0) |
          (op.here === true ? 2 : 0) |
          (op.shared === true ? 4 : 0) |
          (op.tells === true ? 8 : 0),
      );
    case 'root':
      return mountPayload(op.mount, 0, op.point, op.subject);
    case 'servedTree':
      return Buffer.concat(text(op.program, op.options));
    case 'rootTree':
      return Buffer.concat([u32(op.idmap, op.uid, op.gid), mountPayload(op.mount, 0, '', op.subject)]);
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
    case 'detach':
    case 'readonly':
    case 'cwd':
    case 'startSocket':
    case 'console':
    case 'pidfd':
      return Buffer.concat(text(op.path));
    case 'rootReadonly':
    case 'pivot':
    case 'chroot':
    case 'chrootAlone':
    case 'leave':
    case 'loopback':
    case 'noNewPrivs':
    case 'execCheck':
    case 'waitStart':
    case 'ready':
    case 'init':
      return ZEROS.subarray(8);
    case 'terminal':
      return u32(op.uid, op.gid, op.rows ?? 0, op.columns ?? 0, op.plain === true ? 1 : 0);
    case 'hostname':
    case 'domainname':
    case 'keyring':
      return Buffer.concat(text(op.name));
    case 'rlimit':
      return Buffer.concat([u32(op.resource, op.must === true ? 1 : 0), u64(limit(op.soft), limit(op.hard))]);
    case 'umask':
      return u32(op.mask);
    case 'oom':
    case 'parentOom':
      return u32(op.score >>> 0);
    case 'credentials':
      return Buffer.concat([
        u32(op.uid, op.gid, op.groups.length, op.keepGroups === true ? 1 : 0),
        u64(op.bounding, op.effective, op.permitted ?? op.effective, op.inheritable ?? 0n, op.ambient ?? 0n),
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
    case 'cgroupRealtime':
      return Buffer.concat([u32(op.runtime, op.period), ...text(op.directory, op.parent)]);
    case 'cgroupSelf':
    case 'cgroupNamespace':
      return ZEROS.subarray(8);
    case 'seccomp':
      return Buffer.concat([u32(op.flags ?? 0, 0), op.program]);
    case 'attach':
      return Buffer.concat([
        u32(attachFlags(op), op.set, op.clear, op.setBelow, op.clearBelow, op.propagation, op.tree),
        u32(op.options.length),
        ...text(op.type, op.source, op.target, ...op.options.flat()),
      ]);
    case 'sync':
      return u32(op.phase);
    case 'hook':
    case 'parentHook': {
      const { phase, timeoutMs, path, args, env } = op.hook;
      return Buffer.concat([u32(phase, timeoutMs, args.length, env.length), ...text(path, ...args, ...env)]);
    }
    case 'sysctl':
      return Buffer.concat(text(op.name, op.value));
    case 'label':
      return Buffer.concat(text(op.file, op.value));
    case 'personality':
    case 'ioPriority':
      return u32(op.value);
    case 'scheduler':
      return Buffer.concat([
        u32(op.policy, op.nice, op.priority, 0),
        u64(op.flags, op.runtime, op.deadline, op.period),
      ]);
    case 'affinity':
      return Buffer.from(op.mask);
    case 'memoryPolicy':
      return Buffer.concat([u32(op.mode, 0), op.mask]);
    case 'device':
      return Buffer.concat([u32(op.mode, op.major, op.minor, op.uid, op.gid, 0), ...text(op.path)]);
    case 'node':
      return Buffer.concat([u32(op.mode, op.major, op.minor, op.uid, op.gid), ...text(op.path)]);
    case 'state':
      return Buffer.concat(text(...op.parts));
    case 'home':
      return u32(op.uid);
    case 'preserve':
      return u32(op.first, op.targets.length, ...op.targets);
    case 'rootPropagation':
      return u32(op.flags);
    case 'enter':
      return Buffer.concat([u32(op.pid, op.flags), u64(op.started)]);
    case 'foreignTree':
      return Buffer.concat([u32(op.pid, 0), u64(op.started), ...text(op.path)]);
    case 'tree':
      return Buffer.concat([
        u32(
          flagsOf(false, op.recursive) |
            (op.idmapRecursive ? FLAG_IDMAP_RECURSIVE : 0) |
            (op.noFollow ? FLAG_NOFOLLOW : 0),
          op.idmap,
        ),
        ...text(op.source),
      ]);
    case 'idmap':
    case 'idMaps':
      return Buffer.concat(text(op.uids, op.gids));
    case 'timeOffsets':
      return Buffer.concat(text(op.text));
    case 'netDevice':
      return Buffer.concat(text(op.name, op.inside));
    case 'notify':
      return Buffer.concat(text(op.path, op.manager));
    case 'hookStreams':
      return Buffer.concat(text(op.stdout, op.stderr));
    case 'streamsOwner':
      return u32(op.uid, op.gid, op.files ? 1 : 0);
    case 'listener':
      return Buffer.concat(text(op.path, ...op.parts));
    case 'exec':
      return Buffer.concat([
        u32(op.args.length, op.env.length, op.candidates.length),
        ...text(...op.args, ...op.env, ...op.candidates),
      ]);
  }
}

function mountPayload(mount: Mount | RootTree, flags: number, point: string, subject: string): Buffer {
  const text = (...values: readonly string[]): Buffer[] => values.map((value) => cString(value, subject));
  if (mount.kind === 'tree') return Buffer.concat([u32(2, flags, mount.tree), ...text(point)]);
  if (mount.kind === 'bind')
    return Buffer.concat([
      u32(0, flags | (mount.recursive === true ? FLAG_RECURSIVE : 0), 0),
      ...text(point, mount.source),
    ]);
  const all = flags | (mount.volatile === true ? FLAG_VOLATILE : 0);
  return Buffer.concat([
    u32(1, all, mount.lower.length),
    ...text(point, mount.upper ?? '', mount.work ?? '', ...mount.lower.flatMap(lowerStrings)),
  ]);
}

function attachFlags(op: Extract<PlanOp, { op: 'attach' }>): number {
  return (
    (op.bind ? 1 : 0) |
    (op.recursive ? 2 : 0) |
    (op.copyUp ? 4 : 0) |
    (op.remount ? 8 : 0) |
    (op.sourceNoFollow ? 16 : 0) |
    (op.targetNoFollow ? 32 : 0) |
    (op.keepMode ? 64 : 0) |
    (op.inside ? 128 : 0) |
    (op.idmapRecursive ? 256 : 0) |
    (op.locked ? 512 : 0) |
    (op.sourceInRoot ? 1024 : 0)
  );
}

function flagsOf(isReadonly: boolean, recursive: boolean): number {
  return (isReadonly ? FLAG_READONLY : 0) | (recursive ? FLAG_RECURSIVE : 0);
}

function cString(value: string, subject: string): Buffer {
  if (value.includes('\0')) throw new TsbuildError('SPEC_INVALID', `${subject} has a NUL byte in it`);
  return Buffer.from(`${value}\0`, 'utf8');
}

/** why of the pool: sixty operations of five parts each are a tenth of a start, if each has memory of its own. */
function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  let at = 0;
  for (const value of values) at = bytes.writeUInt32LE(value >>> 0, at);
  return bytes;
}

function u64(...values: readonly bigint[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 * values.length);
  let at = 0;
  for (const value of values) at = bytes.writeBigUInt64LE(value, at);
  return bytes;
}

/** RLIM_INFINITY for Infinity. */
function limit(value: number): bigint {
  return Number.isFinite(value) ? BigInt(value) : 0xffffffffffffffffn;
}
