/**
 * Places that hold images, as people write them:
 *
 *   [docker://]REFERENCE            a registry
 *   oci:PATH[:TAG|@DIGEST]          an OCI layout
 *   oci-archive:PATH[:TAG|@DIGEST]  an OCI layout in a tar
 *   docker-archive:PATH[:REFERENCE] what `docker save` writes
 *   store:NAME                      the local store
 */
import { resolve } from 'node:path';
import { TsbuildError } from '../base/errors.ts';
import { parseReference, withDefaultTag, type Reference } from '../oci/reference.ts';

export type Place =
  | { readonly kind: 'registry'; readonly reference: Reference }
  | {
      readonly kind: 'oci' | 'oci-archive';
      readonly path: string;
      /** A tag, or `@` and a digest. */
      readonly select?: string;
    }
  | { readonly kind: 'docker-archive'; readonly path: string; readonly reference?: Reference }
  | { readonly kind: 'store'; readonly name: string };

/** `cwd`: what paths count from. Throws USAGE, REFERENCE_INVALID. */
export function parsePlace(text: string, cwd: string): Place {
  const [, scheme, rest = ''] =
    /^(docker:\/\/|oci:|oci-layout:\/\/|oci-archive:|docker-archive:|store:)(.*)$/.exec(text) ?? [];
  switch (scheme) {
    case undefined:
    case 'docker://':
      return {
        kind: 'registry',
        reference: withDefaultTag(parseReference(scheme === undefined ? text : rest)),
      };
    case 'store:':
      if (rest === '') throw missing(text, 'a name');
      return { kind: 'store', name: rest };
    case 'docker-archive:': {
      const { path, after } = splitPath(rest, text);
      return {
        kind: 'docker-archive',
        path: resolve(cwd, path),
        ...(after === undefined ? {} : { reference: withDefaultTag(parseReference(after)) }),
      };
    }
    default: {
      const { path, after } = splitPath(rest, text);
      const kind = scheme === 'oci-archive:' ? 'oci-archive' : 'oci';
      return { kind, path: resolve(cwd, path), ...(after === undefined ? {} : { select: after }) };
    }
  }
}

/** `PATH`, `PATH:TAG`, `PATH@DIGEST`: the first colon after the last slash of the path begins the rest. */
function splitPath(rest: string, text: string): { readonly path: string; readonly after?: string } {
  const at = /^([^:@]+)(?:(:)(.+)|(@sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})))?$/.exec(rest);
  if (at === null) throw missing(text, 'a path');
  const [, path = '', , tag, digest] = at;
  const after = tag ?? digest;
  return { path, ...(after === undefined ? {} : { after }) };
}

function missing(text: string, what: string): TsbuildError {
  return new TsbuildError('USAGE', `${JSON.stringify(text)} lacks ${what}`, {
    hint: 'write docker://NAME, oci:PATH[:TAG], oci-archive:PATH[:TAG], docker-archive:PATH[:NAME] or store:NAME',
  });
}
