/** Modules of Node that take milliseconds to start, started when something of them is used instead of when required. */

const SLOW = new Set([
  'node:child_process',
  'node:crypto',
  'node:fs/promises',
  'node:net',
  'node:os',
  'node:stream',
  'node:stream/promises',
  'node:zlib',
  'node:timers/promises',
]);

/** `require`, but for the slow ones, of which it gives a stand-in that reads through. */
export function lazyBuiltins(require: (name: string) => unknown): (name: string) => unknown {
  const standIns = new Map<string, object>();
  return (name) => {
    if (!SLOW.has(name)) return require(name);
    const known = standIns.get(name);
    if (known !== undefined) return known;
    const made = standIn(() => require(name) as object);
    standIns.set(name, made);
    return made;
  };
}

function standIn(load: () => object): object {
  let module: object | undefined;
  const loaded = (): object => (module ??= load());
  return new Proxy(
    {},
    {
      get: (_, key): unknown => Reflect.get(loaded(), key),
      has: (_, key) => Reflect.has(loaded(), key),
      ownKeys: () => Reflect.ownKeys(loaded()),
      getOwnPropertyDescriptor(_, key) {
        const descriptor = Reflect.getOwnPropertyDescriptor(loaded(), key);
        // A proxy may not claim that its empty target has fixed properties.
        return descriptor === undefined ? undefined : { ...descriptor, configurable: true };
      },
    },
  );
}
