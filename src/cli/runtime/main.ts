/** tsbuild-runtime: the command line that engines expect of an OCI runtime. Alone here everything is caught. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { locateNative } from '../../../native/locate.ts';
import { isTsbuildError, TsbuildError } from '../../base/errors.ts';
import { readHierarchies } from '../../runtime/cgroups/read-hierarchies.ts';
import type { Machine } from '../../runtime/layout.ts';
import { OCI_VERSION } from '../../runtime/oci/state-document.ts';
import { openStateStore } from '../../runtime/oci/store.ts';
import { createHost } from '../compose.ts';
import { parseArguments, type Arguments } from './arguments.ts';
import { flag, option, type Command, type Session } from './command.ts';
import { COMMANDS } from './commands.ts';
import { openLog, type RuntimeLog } from './log.ts';

const VERSION = '0.1.0';
/** As crun names what it was built with. */
const ABILITIES = '+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF';
const DEFAULT_ROOT = '/run/tsbuild-runtime';

const GLOBAL = [
  option('root', `directory of container states (default: ${DEFAULT_ROOT})`),
  option('log', 'file for messages (default: standard error)'),
  option('log-format', 'text or json'),
  flag('debug', 'tell more'),
  flag('systemd-cgroup', 'cgroups by way of systemd'),
  option('cgroup-manager', 'cgroupfs, systemd or disabled'),
  option('rootless', 'ignored'),
  option('criu', 'ignored'),
  flag('help', 'this', 'h'),
  flag('version', 'the version', 'v'),
];

function usage(program: string): string {
  const rows = COMMANDS.map(({ name, summary }) => `   ${name.padEnd(10)} ${summary}`).join('\n');
  const options = GLOBAL.map(({ name, help }) => `   --${name.padEnd(16)} ${help}`).join('\n');
  return `NAME:\n   ${program} - Open Container Initiative runtime\n\nUSAGE:\n   ${program} [global options] command [options] [arguments]\n\nCOMMANDS:\n${rows}\n\nGLOBAL OPTIONS:\n${options}\n`;
}

function commandUsage(program: string, { name, usage: words, summary, options }: Command): string {
  const rows = options.map((each) => {
    const names = `--${each.name}${each.short === undefined ? '' : `, -${each.short}`}`;
    return `   ${names.padEnd(22)} ${each.help}`;
  });
  return `NAME:\n   ${program} ${name} - ${summary}\n\nUsage: ${program} [OPTION...] ${name} ${words}\n\nOPTIONS:\n${rows.join('\n')}\n`;
}

function print(text: string): void {
  process.stdout.write(text);
}

function now(): string {
  return new Date().toISOString();
}

function machine(): Machine {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    arch: process.arch === 'arm64' ? 'arm64' : 'amd64',
    cgroup2: readHierarchies().v1.length === 0,
    bounding: BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`),
    mountPoint: '/',
  };
}

/** What the native front said of descriptors; nobody else shall see it. */
function takeDescriptors(env: NodeJS.ProcessEnv): ReadonlySet<number> | undefined {
  const text = env['TSBUILD_RUNTIME_DESCRIPTORS'];
  delete env['TSBUILD_RUNTIME_DESCRIPTORS'];
  return text === undefined ? undefined : new Set(text.split(',').filter(Boolean).map(Number));
}

/** The name that the native front was called by, which may be a symlink's; nobody else shall see it. */
function takeName(env: NodeJS.ProcessEnv): string {
  const name = env['TSBUILD_RUNTIME_NAME'] ?? '';
  delete env['TSBUILD_RUNTIME_NAME'];
  return /^[\w.-]+$/.test(name) ? name : 'tsbuild-runtime';
}

function managerOf(globals: Arguments): 'cgroupfs' | 'systemd' | 'disabled' {
  if (globals.has('systemd-cgroup')) return 'systemd';
  const name = globals.text('cgroup-manager') ?? 'cgroupfs';
  if (name === 'cgroupfs' || name === 'systemd' || name === 'disabled') return name;
  throw new TsbuildError('USAGE', `unknown cgroup manager ${JSON.stringify(name)}`);
}

function sessionOf(globals: Arguments, log: RuntimeLog): Session {
  const { env } = process;
  const cwd = process.cwd();
  return {
    context: {
      store: openStateStore(resolve(cwd, globals.text('root') ?? DEFAULT_ROOT), createHost()),
      launcher: locateNative('tsbuild-launch'),
      machine: machine(),
      handedOn: takeDescriptors(env),
      cgroups: { manager: managerOf(globals), hierarchies: readHierarchies },
      now,
      warn: (message) => log.write('warning', message),
      debug: globals.has('debug') ? (message) => log.write('debug', message) : undefined,
    },
    ...{ cwd, env, version: VERSION, print },
    forwardSignals(pid) {
      for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const)
        process.on(name, () => {
          try {
            process.kill(pid, name);
          } catch {
            // It ended in the meantime.
          }
        });
    },
  };
}

/** A path, or crun's `file:PATH`; what is meant for syslog or the journal goes to standard error. */
function logFile(text: string | undefined): string | undefined {
  const [, scheme, rest] = /^([a-z]+):(.*)$/.exec(text ?? '') ?? [];
  if (scheme === undefined) return text;
  if (scheme === 'file') return rest;
  if (scheme === 'syslog' || scheme === 'journald') return undefined;
  throw new TsbuildError('USAGE', `unknown log type ${JSON.stringify(scheme)}`);
}

function logOf(globals: Arguments): RuntimeLog {
  const format = globals.text('log-format') ?? 'text';
  if (format !== 'text' && format !== 'json')
    throw new TsbuildError('USAGE', `invalid log format ${JSON.stringify(format)}`);
  return openLog({
    ...{ file: logFile(globals.text('log')), format, now, stderr: process.stderr },
    debug: globals.has('debug'),
  });
}

async function main(
  program: string,
  globals: Arguments,
  rest: readonly string[],
  log: RuntimeLog,
): Promise<number> {
  if (globals.has('version')) {
    print(`${program} version ${VERSION}\ncommit: ${VERSION}\nspec: ${OCI_VERSION}\n${ABILITIES}\n`);
    return 0;
  }
  const [name, ...argv] = rest;
  if (name === undefined || name === 'help' || globals.has('help')) {
    const about = COMMANDS.find((each) => each.name === argv[0]);
    print(about === undefined ? usage(program) : commandUsage(program, about));
    return 0;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) throw new TsbuildError('USAGE', `No help topic for '${name}'`);
  const { parsed, rest: words } = parseArguments(argv, [...command.options, flag('help', '', 'h')], {
    stop: command.stop === true,
  });
  if (parsed.has('help')) {
    print(commandUsage(program, command));
    return 0;
  }
  const args = command.stop === true ? { ...parsed, words } : parsed;
  log.write('debug', `${name} ${args.words.join(' ')}`);
  return await command.run(args, sessionOf(globals, log));
}

function isProgramError(error: unknown): boolean {
  return isTsbuildError(error, 'COMMAND_NOT_FOUND') || isTsbuildError(error, 'COMMAND_NOT_EXECUTABLE');
}

/** Engines tell a failed `exec` from a failing program by 255. */
function exitCodeOf(error: unknown, command: string | undefined): number {
  if (command === 'exec') return 255;
  if (command === 'run' && isTsbuildError(error, 'COMMAND_NOT_FOUND')) return 127;
  return command === 'run' && isTsbuildError(error, 'COMMAND_NOT_EXECUTABLE') ? 126 : 1;
}

function messageOf(error: unknown): string {
  if (isTsbuildError(error)) return error.message;
  return `a bug in tsbuild-runtime: ${String((error as Error).stack)}`;
}

/** `runc run failed: `, as engines and people know it of what goes wrong on the way to a container. */
function prefixOf(error: unknown, program: string, command: string | undefined): string {
  const isMaking = command === 'create' || command === 'run';
  return isMaking && isTsbuildError(error) && error.code !== 'USAGE' ? `${program} ${command} failed: ` : '';
}

async function program(argv: readonly string[]): Promise<void> {
  let log: RuntimeLog = openLog({
    ...{ file: undefined, format: 'text', debug: false, now, stderr: process.stderr },
  });
  const name = takeName(process.env);
  let command: string | undefined;
  try {
    const { parsed, rest } = parseArguments(argv, GLOBAL, { stop: true });
    command = rest[0];
    log = logOf(parsed);
    process.exitCode = await main(name, parsed, rest, log);
  } catch (error) {
    const plain = command === 'run' && isProgramError(error);
    log.fatal(`${plain ? '' : prefixOf(error, name, command)}${messageOf(error)}`, { plain });
    process.exitCode = exitCodeOf(error, command);
  }
}

// why: the program ships as CommonJS, which has no await at its top level.
void program(process.argv.slice(2));
