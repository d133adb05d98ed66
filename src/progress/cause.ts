/**
 * Why a step is executed: plain data, each cause one thing that differs from the nearest earlier execution of the
 * same step. Steps that were never executed have the cause `new`.
 *
 * Values are those that stand in the records: no secrets, which are no part of any key. Lists are cut (see `of`).
 */

export interface FileChange {
  readonly change:
    | 'content'
    | 'mode'
    | 'owner'
    | 'type'
    | 'target'
    | 'capability'
    | 'added'
    | 'removed'
    | 'renamed';
  /** From the root of what was copied from; a directory that came or went with all that is in it ends with `/`. */
  readonly path: string;
  /** Its old path, where it was renamed. */
  readonly from?: string;
  /** Of modes, owners, types and targets of links. */
  readonly before?: string;
  readonly after?: string;
}

export interface BaseImage {
  readonly reference: string;
  /** Identity of the image in the store; absent for scratch. */
  readonly image?: string;
}

export type Cause =
  /** There is no earlier execution to compare with. */
  | { readonly kind: 'new' }
  /** --no-cache or --no-cache-filter. */
  | { readonly kind: 'no-cache' }
  /** It was executed with the same inputs, but what came out is no longer in the store. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'base'; readonly before: BaseImage; readonly after: BaseImage }
  /** The step that it follows has other files than then. */
  | { readonly kind: 'parent'; readonly step: string }
  /** It follows another step than then (`before`, without its number), which is not one that was executed now. */
  | { readonly kind: 'order'; readonly step: string; readonly before: string }
  | { readonly kind: 'instruction'; readonly before: string; readonly after: string }
  | {
      readonly kind: 'variable';
      readonly variable: 'ARG' | 'ENV';
      readonly name: string;
      /** Absent: it was not set; it is not set any more. */
      readonly before?: string;
      readonly after?: string;
    }
  | { readonly kind: 'variable-order' }
  /** `name`: a flag such as `--chown`, or `USER`, `WORKDIR`, `SHELL`, `platform`, `SOURCE_DATE_EPOCH`, … */
  | { readonly kind: 'setting'; readonly name: string; readonly before?: string; readonly after?: string }
  | {
      readonly kind: 'files';
      /** Whose: `the build context`, `stage "build"`, … */
      readonly source: string;
      /** The first of them; a file may have several. Empty where the earlier list is no longer there. */
      readonly changes: readonly FileChange[];
      /** How many files, and directories, a directory that came, went or moved with all that is in it being one. */
      readonly changed: number;
      /** Of how many: files that are there and that are gone, and directories that have changed themselves. */
      readonly of: number;
    }
  /** The ignore file lets other files through. */
  | {
      readonly kind: 'ignore';
      readonly file: string;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | {
      readonly kind: 'mount';
      /** `bind /src`. */
      readonly mount: string;
      readonly change: 'added' | 'removed' | 'option' | 'files';
      readonly option?: string;
      readonly before?: string;
      readonly after?: string;
      /** Why its files differ, where that is known. */
      readonly causes?: readonly Cause[];
    }
  /** What was fetched, the commit of a repository, or a heredoc of COPY. */
  | { readonly kind: 'source'; readonly source: string; readonly before?: string; readonly after?: string }
  /** Part of the key by a name that has no words of its own. */
  | { readonly kind: 'other'; readonly part: string };
