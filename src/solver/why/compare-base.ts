/** The image that a stage begins with, then and now. */
import type { BaseImage, Cause } from '../../progress/cause.ts';
import { pair, type Execution } from './execution.ts';
import type { InputOrigin } from './origin.ts';

type ImageOrigin = Extract<InputOrigin, { kind: 'image' }>;

export function compareBases(
  before: Execution,
  after: Execution,
  old: ImageOrigin,
  now: ImageOrigin,
): readonly Cause[] {
  if (old.reference === now.reference) {
    // For another platform the same name is another image; a RUN has its platform in the key, too.
    if (before.origin.platform !== after.origin.platform) return [];
    if (old.platform !== undefined && now.platform !== undefined && old.platform !== now.platform)
      return [{ kind: 'setting', name: 'platform', ...pair(old.platform, now.platform) }];
  }
  return [{ kind: 'base', before: baseOf(old), after: baseOf(now) }];
}

/** What a step has from its base image besides files: what changed of it has one cause, that image. */
export interface Inheritance {
  /** Whether a variable or a setting, which there is now or not, is given by the image, and that is another one. */
  gives(name: string, isSet: boolean): boolean;
  /** That it is another one, where it gave any of what was asked about. */
  causes(): readonly Cause[];
}

export function createInheritance(before: Execution, after: Execution): Inheritance {
  const bases = changedBase(before, after);
  let hasGiven = false;
  return {
    gives(name, isSet) {
      const { inherited = [] } = (isSet ? after : before).origin;
      const isGiven = bases.length > 0 && inherited.includes(name);
      hasGiven ||= isGiven;
      return isGiven;
    },
    causes: () => (hasGiven ? bases : []),
  };
}

/** None where it is the same image, or nobody noted it. */
function changedBase(before: Execution, after: Execution): readonly Cause[] {
  const [old, now] = [before.origin.base, after.origin.base];
  if (old?.kind !== 'image' || now?.kind !== 'image' || old.image === now.image) return [];
  return compareBases(before, after, old, now).filter(({ kind }) => kind === 'base');
}

function baseOf({ reference, image }: ImageOrigin): BaseImage {
  return { reference, ...(image === undefined ? {} : { image }) };
}
