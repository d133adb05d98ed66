/** Scopes of tokens: `repository:NAME:pull,push`. Source: distribution, "Docker Registry Token Authentication". */

/** One scope per resource, in the order of their first appearance, with all actions that were named. */
export function joinScopes(...scopes: readonly string[]): readonly string[] {
  const actions = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const at = scope.lastIndexOf(':');
    const resource = at < 0 ? scope : scope.slice(0, at);
    const known = actions.get(resource) ?? new Set<string>();
    for (const action of at < 0 ? [] : scope.slice(at + 1).split(',')) if (action !== '') known.add(action);
    actions.set(resource, known);
  }
  return [...actions].map(([resource, known]) =>
    known.size === 0 ? resource : `${resource}:${[...known].join(',')}`,
  );
}

/** Scopes that a challenge names; one parameter may hold several. */
export function splitScopes(text: string | undefined): readonly string[] {
  return (text ?? '').split(/\s+/).filter((each) => each !== '');
}
