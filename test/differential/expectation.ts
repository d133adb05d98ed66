/** What a case itself demands of tsbuild's image, where buildah is no oracle. */
import { configField } from './comparison.ts';
import type { Image, TreeEntry } from './image-tree.ts';

/** `null`: not there. Of an entry that is there, only what is named is looked at. */
export type ExpectedPath = null | {
  readonly type?: TreeEntry['type'];
  /** Octal, four digits. */
  readonly mode?: string;
  readonly owner?: string;
  readonly content?: string;
  readonly target?: string;
};

function unmetOf(path: string, expected: ExpectedPath, entry: TreeEntry | undefined): readonly string[] {
  if (expected === null) return entry === undefined ? [] : [`${path} is there, as ${entry.type}`];
  if (entry === undefined) return [`${path} is not there`];
  const actual: Readonly<Record<keyof NonNullable<ExpectedPath>, string>> = {
    type: entry.type,
    mode: entry.mode.toString(8).padStart(4, '0'),
    owner: entry.owner,
    content: entry.content.toString(),
    target: entry.target,
  };
  return Object.entries(expected)
    .filter(([field, value]) => actual[field as keyof typeof actual] !== value)
    .map(
      ([field, value]) =>
        `${path} has the ${field} ${JSON.stringify(actual[field as keyof typeof actual])}, not ${JSON.stringify(value)}`,
    );
}

/** One line per demand that the image does not meet. */
export function unmetExpectations(
  image: Image,
  expect: {
    readonly paths?: Readonly<Record<string, ExpectedPath>>;
    readonly config?: Readonly<Record<string, unknown>>;
  },
): readonly string[] {
  const fields = Object.entries(expect.config ?? {}).flatMap(([field, value]) => {
    const [actual, wanted] = [configField(image.config, field), configField({ [field]: value }, field)].map(
      (each) => JSON.stringify(each) as string | undefined,
    );
    return actual === wanted ? [] : [`config ${field} is ${actual ?? 'none'}, not ${wanted ?? 'none'}`];
  });
  const paths = Object.entries(expect.paths ?? {}).flatMap(([path, expected]) =>
    unmetOf(path, expected, image.tree.get(path)),
  );
  return [...paths, ...fields];
}
