/** `hooks` of a config. Spec: OCI runtime-spec v1.2, config.md "POSIX-platform Hooks". */
import { isAbsolute } from 'node:path';
import { TsbuildError } from '../../base/errors.ts';
import type { ContainerHooks, Hook } from '../runtime.ts';
import type { Fields } from './fields.ts';

export function parseHooks(hooks: Fields): ContainerHooks {
  return {
    prestart: hooksOf(hooks, 'prestart'),
    runtime: hooksOf(hooks, 'createRuntime'),
    container: hooksOf(hooks, 'createContainer'),
    start: hooksOf(hooks, 'startContainer'),
  };
}

export function hooksOf(hooks: Fields, name: string): readonly Hook[] {
  return hooks.list(name).map((each) => {
    const path = each.required('path', each.text('path'));
    const timeout = each.number('timeout');
    if (!isAbsolute(path))
      throw new TsbuildError(
        'SPEC_INVALID',
        `${each.nameOf('path')} must be absolute: ${JSON.stringify(path)}`,
      );
    if (timeout !== undefined && timeout <= 0)
      throw new TsbuildError('SPEC_INVALID', `${each.nameOf('timeout')} must be greater than zero`);
    return {
      path,
      args: each.texts('args'),
      env: each.texts('env'),
      ...(timeout === undefined ? {} : { timeoutMs: timeout * 1000 }),
    };
  });
}
