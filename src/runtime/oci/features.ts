/** What this runtime can do, as engines ask for it. Spec: OCI runtime-spec v1.2, features.md and features-linux.md. */
import type { Json } from '../../base/json.ts';
import { UNSAFE_ANNOTATIONS } from '../annotations.ts';
import { ALL_CAPABILITIES } from '../capabilities.ts';
import { KNOWN_ACTIONS, KNOWN_FLAGS } from '../seccomp/compile-profile.ts';
import { MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES } from './machine-document.ts';
import { KNOWN_MOUNT_OPTIONS } from './mount-options.ts';
import { OPERATORS } from './seccomp-document.ts';
import { OCI_VERSION } from './state-document.ts';

export function features(version: string): Json {
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: OCI_VERSION,
    hooks: ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'],
    mountOptions: KNOWN_MOUNT_OPTIONS,
    linux: {
      namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'],
      capabilities: ALL_CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: KNOWN_ACTIONS,
        operators: OPERATORS,
        archs: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X86_64'],
        knownFlags: KNOWN_FLAGS,
        supportedFlags: KNOWN_FLAGS,
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: false },
      memoryPolicy: { modes: MEMORY_POLICY_MODES, flags: MEMORY_POLICY_FLAGS },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: { 'org.tsbuild.version': version },
    potentiallyUnsafeConfigAnnotations: UNSAFE_ANNOTATIONS,
  };
}
