/** Driver `overlay`: each snapshot is the directory of its own layer, a state is an overlay of them. */
import { EMPTY_ROOT, readRoot } from './root-attributes.ts';
import type { Snapshotter } from './snapshotter.ts';
import { createStackedSnapshotter, shownOf, type DriverOptions, type StackedDriver } from './stacked.ts';
import { openSnapshotStore } from './store.ts';
import { unpackSnapshot } from './unpacked.ts';

/** `small`: bytes of a tar below which no native call unpacks it. */
export interface OverlayOptions extends DriverOptions {
  readonly small?: number | undefined;
}

export function createOverlaySnapshotter(options: OverlayOptions): Snapshotter {
  return createStackedSnapshotter(options, overlayDriver(options, 'overlay'));
}

/** `program`: what shows the states, where it is not the kernel. */
export function overlayDriver(
  { root, host, retention, small }: OverlayOptions,
  name: string,
  program?: string,
): StackedDriver {
  const store = openSnapshotStore(root, host, ['fs'], retention);
  const driver: StackedDriver = {
    name,
    store,
    program,
    lowersOf: (of) => Promise.resolve(shownOf(store, of).map((each) => store.filesOf(each))),
    rootOf: (of) => (of === undefined ? EMPTY_ROOT : readRoot(store.filesOf(store.require(of).name))),
    async make(parent, layer, as) {
      if (parent !== undefined) store.require(parent);
      const lowers = parent === undefined ? [] : await driver.lowersOf(parent);
      const below = { lowers, program, root: driver.rootOf(parent), small };
      return unpackSnapshot(store, { name: as, parent }, layer, below);
    },
    isKeptAsLayer: () => false,
  };
  return driver;
}
