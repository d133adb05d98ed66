/** Something that is done while a container stands still. */
import { freeze, isFrozen, thaw } from '../../runtime/cgroups/freeze.ts';
import { placeOfProcess } from '../../runtime/cgroups/place-of.ts';
import type { StoredContainer } from '../../runtime/container.ts';

/** A container that does not run, or is paused already, stays as it is. */
export async function paused<T>({ state }: StoredContainer, act: () => Promise<T>): Promise<T> {
  const place = state.process === undefined ? undefined : placeOfProcess(state.process.pid);
  if (place === undefined || (place.v1.length === 0 && place.unified === undefined) || isFrozen(place))
    return act();
  await freeze(place);
  try {
    return await act();
  } finally {
    await thaw(place);
  }
}
