/** Flags of `run` and `create`, by subject; what they mean beside docker's is in docs/run.md. */
import type { FlagSpec, FlagTable } from '../flags.ts';

const text = (value: string, help: string, short?: string): FlagSpec => ({
  ...{ kind: 'text', value, help },
  ...(short === undefined ? {} : { short }),
});
const list = (value: string, help: string, short?: string): FlagSpec => ({
  ...text(value, help, short),
  kind: 'list',
});
const boolean = (help: string, short?: string): FlagSpec => ({
  ...{ kind: 'boolean', help },
  ...(short === undefined ? {} : { short }),
});

const PROCESS: FlagTable = {
  entrypoint: text('COMMAND', "instead of the image's entry point"),
  env: list('NAME[=VALUE]', 'environment variable; without VALUE from the environment', 'e'),
  'env-file': list('FILE', 'read environment variables from FILE'),
  'group-add': list('GROUP', 'one more group, by name or number'),
  user: text('USER[:GROUP]', 'who the command runs as', 'u'),
  workdir: text('DIR', 'working directory', 'w'),
  tty: boolean('give the container a terminal', 't'),
  interactive: boolean('keep standard input open', 'i'),
};

const DESCRIPTION: FlagTable = {
  name: text('NAME', 'name of the container'),
  label: list('NAME[=VALUE]', 'label of the container', 'l'),
  'label-file': list('FILE', 'read labels from FILE'),
  annotation: list('NAME=VALUE', 'annotation of the container'),
  cidfile: text('FILE', 'write the id to FILE, which must not exist'),
  platform: text('OS/ARCH', 'platform of the image'),
  pull: text('WHEN', 'always, missing (default) or never'),
  hostname: text('NAME', 'host name', 'h'),
  domainname: text('NAME', 'NIS domain name'),
};

const LIFE: FlagTable = {
  rm: boolean('remove the container, and its anonymous volumes, when it has ended'),
  restart: text('POLICY', 'no (default), on-failure[:N], always or unless-stopped'),
  init: boolean('run an init that forwards signals and reaps processes'),
  'stop-signal': text('SIGNAL', 'signal that asks it to end'),
  'stop-timeout': text('SECONDS', 'before SIGKILL'),
  'health-cmd': text('COMMAND', 'command that tells whether it is well'),
  'health-interval': text('DURATION', 'between checks'),
  'health-timeout': text('DURATION', 'of one check'),
  'health-start-period': text('DURATION', 'in which failures do not count'),
  'health-start-interval': text('DURATION', 'between checks in the start period'),
  'health-retries': text('N', 'failures in a row that make it unhealthy'),
  'no-healthcheck': boolean("switch the image's check off"),
  'log-driver': text('NAME', 'json-file (default) or none'),
  'log-opt': list('NAME=VALUE', 'max-size=SIZE, max-file=N'),
};

const FILES: FlagTable = {
  volume: list('[SRC:]DST[:OPTIONS]', 'mount a directory of the host, or a volume', 'v'),
  mount: list('SPEC', 'type=bind|volume|tmpfs,source=…,target=…'),
  tmpfs: list('DIR[:OPTIONS]', 'mount a tmpfs'),
  'volumes-from': list('CONTAINER[:ro]', 'mount the volumes of another container'),
  'volume-driver': text('NAME', 'local is the only one'),
  'read-only': boolean('mount the root file system read-only'),
  device: list('HOST[:CONTAINER[:rwm]]', 'give it a device of the host'),
  'device-cgroup-rule': list('RULE', 'let it use devices, e.g. "c 10:229 rwm"'),
  'shm-size': text('SIZE', 'size of /dev/shm (default 64m)'),
};

const SECURITY: FlagTable = {
  'cap-add': list('CAP', 'add a capability'),
  'cap-drop': list('CAP', 'drop a capability'),
  privileged: boolean('all capabilities and devices, no filter, nothing masked'),
  'security-opt': list('OPTION', 'no-new-privileges, seccomp=FILE|unconfined, systempaths=unconfined, …'),
  sysctl: list('NAME=VALUE', 'setting of its own namespaces'),
  ulimit: list('NAME=SOFT[:HARD]', 'resource limit of its processes'),
  pid: text('MODE', 'host, private or container:NAME'),
  ipc: text('MODE', 'host, private, shareable, none (no /dev/shm) or container:NAME'),
  uts: text('MODE', 'host, private or container:NAME'),
  cgroupns: text('MODE', 'host, private or container:NAME'),
  userns: text('MODE', 'host (default), auto[:size=N] or nomap'),
  'time-offset': list('CLOCK=SECONDS', 'of a time namespace: monotonic=…, boottime=…'),
};

const LIMITS: FlagTable = {
  memory: text('SIZE', 'memory', 'm'),
  'memory-swap': text('SIZE', 'memory and swap together; -1: unlimited'),
  'memory-reservation': text('SIZE', 'memory that it keeps when there is little'),
  'memory-swappiness': text('0-100', 'how readily its memory is swapped'),
  'oom-kill-disable': boolean('wait instead of killing (cgroup v1)'),
  'oom-score-adj': text('N', 'from -1000 (never killed) to 1000'),
  cpus: text('N', 'processors, e.g. 1.5'),
  'cpu-shares': text('N', 'relative weight', 'c'),
  'cpu-period': text('µs', 'period of the quota'),
  'cpu-quota': text('µs', 'processor time in a period'),
  'cpuset-cpus': text('LIST', 'processors that it may use, e.g. 0-2,4'),
  'cpuset-mems': text('LIST', 'memory nodes that it may use'),
  'pids-limit': text('N', 'processes; -1: unlimited'),
  'blkio-weight': text('N', 'relative weight of its I/O, 10 to 1000'),
  'blkio-weight-device': list('DEVICE:N', 'the same for one device'),
  'device-read-bps': list('DEVICE:SIZE', 'bytes per second that it may read'),
  'device-write-bps': list('DEVICE:SIZE', 'bytes per second that it may write'),
  'device-read-iops': list('DEVICE:N', 'reads per second'),
  'device-write-iops': list('DEVICE:N', 'writes per second'),
  'cgroup-parent': text('PATH', 'cgroup that its own is made in; of systemd, a slice'),
  'cgroup-driver': text('NAME', 'cgroupfs (default) or systemd'),
};

const NETWORK: FlagTable = {
  network: list('MODE', 'bridge (default), host, none, container:NAME or networks'),
  'network-alias': list('NAME', 'one more name on its network'),
  ip: text('ADDRESS', 'IPv4 address on its network'),
  ip6: text('ADDRESS', 'IPv6 address on its network'),
  'mac-address': text('ADDRESS', 'of its interface'),
  publish: list('[IP:][HOST:]PORT[/PROTOCOL]', 'reach a port from outside', 'p'),
  'publish-all': boolean('publish all exposed ports', 'P'),
  expose: list('PORT', 'a port that --publish-all publishes'),
  'add-host': list('NAME:IP', 'entry of /etc/hosts'),
  dns: list('ADDRESS', 'name server'),
  'dns-option': list('OPTION', 'option of resolv.conf'),
  'dns-search': list('DOMAIN', 'search domain'),
};

export const CREATE_FLAGS: FlagTable = {
  ...PROCESS,
  ...DESCRIPTION,
  ...LIFE,
  ...FILES,
  ...SECURITY,
  ...LIMITS,
  ...NETWORK,
  attach: list('STREAM', 'stdin, stdout or stderr', 'a'),
  quiet: boolean('do not show the pull', 'q'),
};

export const RUN_FLAGS: FlagTable = {
  ...CREATE_FLAGS,
  detach: boolean('start it in the background and print its id', 'd'),
  'detach-keys': text('KEYS', 'keys that leave the terminal, e.g. ctrl-p,ctrl-q'),
  'sig-proxy': { ...boolean('hand signals on to it'), initially: true },
};

export const UPDATE_FLAGS: FlagTable = {
  ...Object.fromEntries(
    Object.entries(LIMITS).filter(
      ([name]) => !/^(?:device-|blkio-weight-device|oom|cgroup-|memory-swappiness)/.test(name),
    ),
  ),
  restart: text('POLICY', 'no, on-failure[:N], always or unless-stopped'),
};
