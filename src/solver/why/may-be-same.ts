/** Whether a step that would be executed may make what it made before, as far as that can be told without executing it. */
import { canonicalJson } from '../../base/json.ts';
import type { Vertex } from '../../graph/graph.ts';
import type { CopyOp } from '../../graph/ops.ts';
import type { Cause, FileChange } from '../../progress/cause.ts';
import type { CacheMap, StepRecord } from '../handler.ts';
import { hasWildcard } from '../../layer/ignore-patterns.ts';
import { entriesOf, selectionsOf, type Listing } from '../listing.ts';
import { countChanged } from './describe.ts';

/** Flags that may make the same layer. */
const MAY_LEAVE_FILES: ReadonlySet<string> = new Set(['--exclude', '--unpack', '--link']);

/**
 * A command may leave the same files whatever changed, and a working directory may be there already; other files that are copied
 * are other files, but for what they are called, what was left out of them, whether they are linked, archives with the same files
 * in them, and what other files are put over.
 */
export function mayBeSame(
  { op }: Vertex,
  causes: readonly Cause[],
  { named, listings = [] }: Pick<CacheMap, 'named' | 'listings'>,
  nearest: StepRecord,
): boolean {
  if (op.kind === 'run' || (op.kind === 'copy' && op.instruction === 'WORKDIR')) return true;
  if (op.kind !== 'copy') return false;
  const isSamePlace = canonicalJson(named['destination']) === canonicalJson(nearest.named['destination']);
  return causes.every((cause) => {
    switch (cause.kind) {
      case 'no-cache':
      case 'lost':
        return true;
      case 'instruction':
        return isSamePlace;
      case 'setting':
        return isSamePlace && MAY_LEAVE_FILES.has(cause.name);
      case 'files':
        return op.unpack !== 'never' || isHidden(op, cause, listings);
      default:
        return false;
    }
  });
}

/** Whether nothing of what changed need be seen: other files may lie over it, or --chmod replaces what it is about. */
function isHidden(
  { chmod, sources }: CopyOp,
  cause: Extract<Cause, { kind: 'files' }>,
  listings: readonly Listing[],
): boolean {
  const { changes, changed } = cause;
  if (changes.length === 0 || countChanged(changes) < changed) return false;
  if (chmod !== undefined && changes.every(({ change }) => change === 'mode')) return true;
  const patterns = sources.flatMap((source) => (source.kind === 'paths' ? source.patterns : []));
  if (patterns.length < 2 && !patterns.some((pattern) => hasWildcard(pattern))) return false;
  const listing = listings.map(({ text }) => text).join('');
  const bases = selectionsOf(listing);
  if (bases.length < 2) return false;
  /** For each place, which selection comes last there. */
  const last = new Map<string, number>();
  for (const [path, { type }] of entriesOf(listing)) {
    const { place, selection } = placeIn(path, bases);
    if (type !== 'directory') last.set(place, Math.max(selection, last.get(place) ?? 0));
  }
  const isCovered = ({ change, path, from }: FileChange): boolean => {
    const { place, selection } = placeIn(path, bases);
    if (change === 'renamed') return from !== undefined && placeIn(from, bases).place === place;
    return change === 'removed' ? last.has(place) : selection < (last.get(place) ?? 0);
  };
  return changes.every(isCovered);
}

interface Selection {
  readonly path: string;
  readonly type: string;
}

interface Place {
  /** Below the destination: of what a directory holds, its way from there; of a file, its name. */
  readonly place: string;
  /** By whose selection, in their order; where nothing selects it any more, the first. */
  readonly selection: number;
}

function placeIn(path: string, selections: readonly Selection[]): Place {
  const selection = selections.findIndex(
    ({ path: base }) => base === '' || path === base || path.startsWith(`${base}/`),
  );
  const { path: base = '', type } = selections[selection] ?? {};
  const isBelow = selection >= 0 && (path !== base || type === 'directory');
  const place = isBelow
    ? path.slice(base === '' ? 0 : base.length + 1)
    : path.slice(path.lastIndexOf('/') + 1);
  return { place, selection: Math.max(0, selection) };
}
