/** ARGs before the first FROM, and the platform arguments that are always there. */
import type { Platform } from '../../src/oci/documents.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import type { FrontendRequest } from '../request.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import { narrow, TsbuildError, type SourceRef } from '../../src/base/errors.ts';
import { createExpander } from './expander.ts';

function platformArgs(prefix: string, platform: Platform): [string, string][] {
  return [
    [`${prefix}PLATFORM`, formatPlatform(platform)],
    [`${prefix}OS`, platform.os],
    [`${prefix}OSVERSION`, platform['os.version'] ?? ''],
    [`${prefix}ARCH`, platform.architecture],
    [`${prefix}VARIANT`, platform.variant ?? ''],
  ];
}

/** One ARG, for the outline. */
export interface ArgInfo {
  readonly name: string;
  readonly value?: string;
  readonly description?: string;
  readonly source: SourceRef;
  /** Variables that its default uses. */
  readonly uses: ReadonlySet<string>;
}

export interface GlobalVariables {
  readonly variables: ReadonlyMap<string, string>;
  /** Names that FROM may use, with or without a value. */
  readonly declared: ReadonlySet<string>;
  readonly args: ReadonlyMap<string, ArgInfo>;
}

type Arguments = Pick<FrontendRequest, 'buildPlatform' | 'platform' | 'buildArgs'>;

/** Values visible to FROM, and to stages that redeclare them. `useGiven`: --build-arg counts. */
export function globalVariables(
  globals: readonly InstructionOf<'ARG'>[],
  request: Arguments,
  targetName: string | undefined,
  escape: string,
  useGiven = true,
): GlobalVariables {
  const given = (name: string): string | undefined =>
    Object.hasOwn(request.buildArgs, name) ? request.buildArgs[name] : undefined;
  const variables = new Map<string, string>([
    ...platformArgs('BUILD', request.buildPlatform),
    ...platformArgs('TARGET', request.platform),
    ['TARGETSTAGE', targetName ?? 'default'],
  ]);
  for (const name of [...variables.keys(), 'SOURCE_DATE_EPOCH']) {
    const value = given(name);
    if (value !== undefined) variables.set(name, value);
  }
  const declared = new Set(variables.keys());
  const args = new Map<string, ArgInfo>();
  for (const instruction of globals) {
    const source = refAt(instruction.raw);
    for (const arg of instruction.args) {
      const uses = new Set<string>();
      const expand = createExpander({
        raw: instruction.raw,
        escape,
        variables,
        onUsed: (used) => uses.add(used),
      });
      const { name } = arg;
      const value =
        (useGiven ? given(name) : undefined) ??
        (arg.value === undefined ? undefined : expand.word(arg.value));
      if (value !== undefined) variables.set(name, value);
      declared.add(name);
      uses.delete(name);
      const description = describedAs(instruction.raw.comments, name);
      args.set(name, {
        name,
        source,
        uses,
        ...(value === undefined ? {} : { value }),
        ...(description === undefined ? {} : { description }),
      });
      if (name === 'SOURCE_DATE_EPOCH')
        checkEpoch(value, () =>
          syntaxError(
            'INSTRUCTION_INVALID',
            `invalid SOURCE_DATE_EPOCH ${JSON.stringify(value)}`,
            narrow(source, value ?? ''),
            'give seconds since the epoch, or context',
          ),
        );
    }
  }
  checkEpoch(
    variables.get('SOURCE_DATE_EPOCH'),
    () =>
      new TsbuildError(
        'USAGE',
        `invalid SOURCE_DATE_EPOCH ${JSON.stringify(variables.get('SOURCE_DATE_EPOCH'))}`,
        { hint: 'give seconds since the epoch, or context' },
      ),
  );
  return { variables, declared, args };
}

/** `# name what it is`, above the instruction. */
export function describedAs(comments: readonly string[], name: string): string | undefined {
  return comments.find((comment) => comment.startsWith(`${name} `))?.slice(name.length + 1);
}

function checkEpoch(value: string | undefined, fail: () => TsbuildError): void {
  if (value !== undefined && value !== '' && value !== 'context' && !/^\d{1,12}$/.test(value)) throw fail();
}
