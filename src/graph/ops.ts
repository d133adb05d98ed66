/**
 * Operations: what a vertex of the build graph does. A closed union of plain data, tagged by `kind`.
 *
 * Paths inside images are absolute, `/`-separated, lexically clean, without symlinks resolved: the handler
 * resolves them in the tree that it finds. Nothing here depends on the machine.
 */
import type { Digest } from '../base/digest.ts';
import type { Platform } from '../oci/documents.ts';

/** The layers of an image, or nothing at all for `scratch`. No inputs. */
export interface ImageOp {
  readonly kind: 'image';
  /** As resolved by the frontend through resolveImage; undefined = scratch. */
  readonly image?: { readonly reference: string; readonly manifest: Digest };
  readonly platform: Platform;
}

/** The user's files. No inputs. Content is read when a COPY asks for it. */
export interface ContextOp {
  readonly kind: 'context';
  /** `context` for the build context itself, else the name given by --build-context. */
  readonly name: string;
}

/** The files of a git commit. No inputs. */
export interface GitOp {
  readonly kind: 'git';
  /** What git understands; without ref and directory. */
  readonly url: string;
  /** Branch, tag, full ref or commit; absent: what the repository's HEAD says. */
  readonly ref?: string;
  /** Relative, clean. */
  readonly subdir?: string;
  readonly keepGitDir: boolean;
  readonly submodules: boolean;
  /** The commit that it must be, whole or its beginning. */
  readonly checksum?: string;
}

/** One file fetched by http(s). No inputs. */
export interface HttpOp {
  readonly kind: 'http';
  readonly url: string;
  readonly filename: string;
  readonly checksum?: string;
}

export type RunMount =
  | {
      readonly kind: 'bind';
      readonly input: number;
      readonly source: string;
      readonly target: string;
      readonly readonly: boolean;
    }
  | {
      readonly kind: 'cache';
      readonly id: string;
      readonly target: string;
      readonly sharing: 'shared' | 'private' | 'locked';
      readonly readonly: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      /** Initial content, where given: the whole root file system of an input, which holds what lay at `source`. */
      readonly input?: number;
      readonly source?: string;
    }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly size?: number }
  | {
      readonly kind: 'secret';
      readonly id: string;
      readonly target?: string;
      readonly env?: string;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly kind: 'ssh';
      readonly id: string;
      readonly target: string;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

/** A process in the root file system of input 0; other inputs are mounted. The result is input 0 plus a layer. */
export interface RunOp {
  readonly kind: 'run';
  /** What is executed, the shell included. */
  readonly args: readonly string[];
  /** `NAME=value`, in the order in which the process sees them. */
  readonly env: readonly string[];
  /** Names in `env` or proxies that do not count for the cache key (predefined proxy arguments). */
  readonly volatileEnv: readonly string[];
  readonly cwd: string;
  /** As written after USER; resolved in the image by the handler. */
  readonly user: string;
  readonly network: 'default' | 'none' | 'host';
  readonly security: 'sandbox' | 'insecure';
  readonly mounts: readonly RunMount[];
  /** A script of a heredoc with a `#!` line: appears read-only, mode 0755, at `path`. */
  readonly script?: { readonly path: string; readonly content: string };
  /** Instead of the usual one (BUILDKIT_SANDBOX_HOSTNAME). */
  readonly hostname?: string;
  readonly platform: Platform;
}

/** Who owns what is copied: names are looked up in the destination's own passwd and group. */
export interface CopyOwner {
  readonly user: string;
  /** undefined: the user's own group; '' as in `bob:` means 0. */
  readonly group?: string;
}

export type CopySource =
  /** Paths (with wildcards, unless `literal`) below the root of an input. */
  | { readonly kind: 'paths'; readonly input: number; readonly patterns: readonly string[] }
  /** A file whose content stands in the Dockerfile. */
  | { readonly kind: 'inline'; readonly name: string; readonly content: string }
  /** The single file of an http input, or the tree of a git input, as a whole. */
  | { readonly kind: 'whole'; readonly input: number };

/**
 * Files into the root file system of input 0 (scratch, if it has no layers). The result is input 0 plus a layer.
 * Also WORKDIR: `mkdir` with no sources.
 */
export interface CopyOp {
  readonly kind: 'copy';
  readonly instruction: 'COPY' | 'ADD' | 'WORKDIR';
  readonly sources: readonly CopySource[];
  /** Absolute; a trailing `/` (or `/.`, turned into `/`) says that it is a directory. */
  readonly destination: string;
  readonly owner?: CopyOwner;
  /** Octal text as checked by the frontend, or a symbolic mode. */
  readonly chmod?: string;
  readonly parents: boolean;
  readonly excludes: readonly string[];
  readonly link: boolean;
  /** ADD: archives among the sources are unpacked ('auto': local ones, by content). */
  readonly unpack: 'auto' | 'always' | 'never';
  /** WORKDIR: who owns created directories, as USER says (unknown names: 0:0 with a warning). */
  readonly workdirUser?: string;
}

/** The layers of all inputs, one above the other (COPY --link). */
export interface MergeOp {
  readonly kind: 'merge';
}

export type Op = ImageOp | ContextOp | GitOp | HttpOp | RunOp | CopyOp | MergeOp;
export type OpKind = Op['kind'];
export type OpOf<K extends OpKind> = Extract<Op, { readonly kind: K }>;
