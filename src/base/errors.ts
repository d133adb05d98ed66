/**
 * The one error class, and every code that it may carry.
 *
 * Codes are public and stable: tests and scripts match them, never the texts. A message says what was
 * attempted, in lower case, without a full stop, values quoted as JSON. The hint is one imperative sentence.
 */

/** Where in a Dockerfile something stands: 1-based lines, 1-based columns, end exclusive in its column. */
export interface SourceRange {
  readonly startLine: number;
  readonly startColumn: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** A range together with the text that it points into, so that an excerpt needs no file access. */
export interface SourceRef {
  /** As the user would type it, e.g. `Dockerfile` or `docker/web.Dockerfile`. */
  readonly file: string;
  readonly text: string;
  readonly range: SourceRange;
}

export type ErrorCode =
  // command line and configuration
  | 'USAGE' // flags or arguments that make no sense; exit code 2
  | 'CONFIG_INVALID' // a configuration file (tsbuild's, docker's) is malformed
  // Dockerfile
  | 'DOCKERFILE_NOT_FOUND'
  | 'DOCKERFILE_SYNTAX' // the text does not parse
  | 'INSTRUCTION_UNKNOWN'
  | 'INSTRUCTION_INVALID' // parses, but its arguments make no sense
  | 'INSTRUCTION_UNSUPPORTED' // known to docker, not (yet) to tsbuild
  | 'EXPANSION_FAILED' // ${…} that cannot be expanded
  | 'STAGE_NOT_FOUND'
  | 'NOT_CACHED' // a step that --assert-cached names would be executed; exit code 3
  | 'CHECK_FAILED' // warnings that the check directive turned into errors
  | 'STAGE_INVALID' // cycles, later stages, bad names
  // build context, COPY and ADD
  | 'CONTEXT_NOT_FOUND'
  | 'CONTEXT_INVALID'
  | 'IGNORE_PATTERN_INVALID'
  | 'COPY_SOURCE_NOT_FOUND'
  | 'COPY_DESTINATION_INVALID'
  | 'COPY_OWNER_UNKNOWN'
  | 'ARCHIVE_INVALID' // a tar (or its compression) that is malformed or hostile
  // RUN and run
  | 'RUN_FAILED' // the command of a RUN ended with another status than 0
  | 'CONTAINER_START_FAILED' // the runtime could not start the program (exit code 125 for run)
  | 'COMMAND_NOT_FOUND' // 127
  | 'COMMAND_NOT_EXECUTABLE' // 126
  | 'HOOK_FAILED' // a hook of an OCI config
  | 'USER_NOT_FOUND'
  | 'SPEC_INVALID' // a container spec that cannot be run
  // networks
  | 'NETWORK_NOT_FOUND'
  | 'NETWORK_EXISTS' // the name, or the addresses, are taken
  | 'NETWORK_IN_USE' // containers are attached to it
  | 'NETWORK_INVALID' // a network, an address or an option that makes no sense
  | 'NETWORK_FULL' // no free address, no free subnet
  | 'NETWORK_UNAVAILABLE' // the machine cannot do it: rights, kernel, another firewall
  | 'ADDRESS_IN_USE'
  | 'PORT_IN_USE' // a port of the host that is published or listened on already
  | 'SYSTEMD_FAILED' // systemd cannot be reached, or refuses a scope
  | 'CGROUP_FAILED' // the kernel refuses a limit, or to pause or remove a container's cgroup
  // containers
  | 'CONTAINER_NOT_FOUND'
  | 'CONTAINER_NAME_IN_USE'
  | 'CONTAINER_RUNNING' // refused because it runs (or is paused)
  | 'CONTAINER_NOT_RUNNING'
  | 'CONTAINER_LOST' // its monitor does not answer
  // volumes
  | 'VOLUME_NOT_FOUND'
  | 'VOLUME_IN_USE' // a container has it
  // images, blobs, snapshots
  | 'REFERENCE_INVALID'
  | 'IMAGE_NOT_FOUND'
  | 'IMAGE_INVALID' // manifest, index or config malformed
  | 'IMAGE_IN_USE'
  | 'PLATFORM_NOT_FOUND'
  | 'PLATFORM_INVALID'
  | 'DIGEST_INVALID' // not a digest at all
  | 'DIGEST_MISMATCH' // bytes differ from what their digest says
  | 'SIZE_MISMATCH'
  | 'BLOB_NOT_FOUND'
  | 'LAYER_LOST' // a layer that a record names cannot be had any more; the solver executes its step
  | 'CACHE_INVALID' // what a remote cache holds is damaged; only ever the cause of a warning
  | 'SNAPSHOT_NOT_FOUND'
  | 'STORE_DAMAGED'
  | 'STORE_IN_USE'
  | 'DISK_FULL'
  | 'STORAGE_FULL' // storage.max would be passed even without everything that may go
  | 'IO_FAILED' // any other refusal of the file system
  // registries
  | 'REGISTRY_UNREACHABLE' // DNS, connect, TLS, time-outs
  | 'REGISTRY_AUTH' // 401, 403
  | 'REGISTRY_NOT_FOUND' // 404
  | 'REGISTRY_REFUSED' // any other refusal
  | 'REGISTRY_PROTOCOL' // an answer that the protocol does not allow
  // machine
  | 'NATIVE_MISSING' // launcher or libtsbsys not built
  | 'KERNEL_UNSUPPORTED'
  | 'PERMISSION_DENIED'
  | 'ABORTED'; // the caller's signal fired; exit code 130

export interface ErrorDetails {
  readonly hint?: string;
  readonly source?: SourceRef;
  readonly cause?: unknown;
  /** Lines of output that explain the failure (the tail of a failed RUN). */
  readonly output?: readonly string[];
  /** Exit status to hand on, where it is the program's own. */
  readonly exitCode?: number;
  /** The word of the instruction that it is about, as it may be written there: `locate` points at it. */
  readonly word?: string;
}

export class TsbuildError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly source: SourceRef | undefined;
  readonly output: readonly string[] | undefined;
  readonly exitCode: number | undefined;
  readonly word: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'TsbuildError';
    this.code = code;
    this.hint = details.hint;
    this.source = details.source;
    this.output = details.output;
    this.exitCode = details.exitCode;
    this.word = details.word;
  }
}

export function isTsbuildError(error: unknown, code?: ErrorCode): error is TsbuildError {
  return error instanceof TsbuildError && (code === undefined || error.code === code);
}

/** The text that was asked for last: places are looked for in one Dockerfile, again and again. */
let split: { readonly text: string; readonly lines: readonly string[] } = { text: '', lines: [''] };

function linesOf(text: string): readonly string[] {
  if (split.text !== text) split = { text, lines: text.replace(/^\uFEFF/, '').split('\n') };
  return split.lines;
}

/** The place of a word in `source`, its first there; `source` itself where it is not written like that. */
export function narrow(source: SourceRef, word: string): SourceRef {
  const { range, text } = source;
  const lines = word === '' ? [] : linesOf(text);
  for (let number = range.startLine; number <= Math.min(range.endLine, lines.length); number += 1) {
    const isFirst = number === range.startLine;
    const line = (lines[number - 1] ?? '').slice(
      0,
      number === range.endLine ? range.endColumn - 1 : undefined,
    );
    // Comments may stand between the lines of an instruction.
    if (!isFirst && line.trimStart().startsWith('#')) continue;
    const from = isFirst ? range.startColumn - 1 : 0;
    for (let at = line.indexOf(word, from); at >= 0; at = line.indexOf(word, at + 1)) {
      const end = at + word.length;
      if ((at > from && !/[\s"'=,:[]/.test(line[at - 1] ?? '')) || !/^(?:[\s"',:\]]|$)/.test(line.slice(end)))
        continue;
      const found = { startLine: number, startColumn: at + 1, endLine: number, endColumn: end + 1 };
      return { file: source.file, text, range: found };
    }
  }
  return source;
}

/** Adds a Dockerfile range to an error that has none yet: the nearest range wins. */
export function locate(error: unknown, source: SourceRef | undefined): unknown {
  if (!(error instanceof TsbuildError) || error.source !== undefined || source === undefined) return error;
  return new TsbuildError(error.code, error.message, {
    source: error.word === undefined ? source : narrow(source, error.word),
    cause: error.cause ?? error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.output === undefined ? {} : { output: error.output }),
    ...(error.exitCode === undefined ? {} : { exitCode: error.exitCode }),
  });
}

/** `ENOENT` and friends of a Node file system error. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Wraps a refusal of the file system, so that a full disk says so. `action` reads like "write layer". */
export function ioError(action: string, error: unknown): TsbuildError {
  if (error instanceof TsbuildError) return error;
  const errno = errnoOf(error);
  if (errno === 'ENOSPC' || errno === 'EDQUOT')
    return new TsbuildError('DISK_FULL', `cannot ${action}: no space left on device`, {
      cause: error,
      hint: 'free some space (tsbuild prune, tsbuild rmi, or another --root) and run the same command again',
    });
  const reason = error instanceof Error ? error.message : String(error);
  return new TsbuildError(
    errno === 'EACCES' || errno === 'EPERM' ? 'PERMISSION_DENIED' : 'IO_FAILED',
    `cannot ${action}: ${reason}`,
    { cause: error },
  );
}
