/** ARGs before the first FROM, and the platform arguments that are always there. */
import type { FrontendWarning } from '../../src/graph/graph.ts';
import type { Platform } from '../../src/oci/documents.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import type { FrontendRequest } from '../request.ts';
import type { InstructionOf } from '../instructions/instruction.ts';
import { refAt, syntaxError } from '../parse/source.ts';
import { TsbuildError } from '../../src/base/errors.ts';
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

/** Values visible to FROM, and to stages that redeclare them. */
export function globalVariables(
  globals: readonly InstructionOf<'ARG'>[],
  request: FrontendRequest,
  targetName: string | undefined,
  escape: string,
  warnings: FrontendWarning[],
): ReadonlyMap<string, string> {
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
  for (const instruction of globals) {
    const expand = createExpander(instruction.raw, escape, variables, warnings);
    for (const arg of instruction.args) {
      const name = expand.word(arg.name);
      const value = given(name) ?? (arg.value === undefined ? undefined : expand.word(arg.value));
      if (value !== undefined) variables.set(name, value);
      if (name === 'SOURCE_DATE_EPOCH')
        checkEpoch(value, () =>
          syntaxError(
            'INSTRUCTION_INVALID',
            `invalid SOURCE_DATE_EPOCH ${JSON.stringify(value)}`,
            refAt(instruction.raw),
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
        { hint: 'give seconds since the epoch' },
      ),
  );
  return variables;
}

function checkEpoch(value: string | undefined, fail: () => TsbuildError): void {
  if (value !== undefined && value !== '' && !/^\d{1,12}$/.test(value)) throw fail();
}
