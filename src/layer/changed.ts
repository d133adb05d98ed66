/** A file is being edited while it is copied: what is packed would not be what was looked at. */
import { toText, type ByteString } from '../base/byte-string.ts';
import { TsbuildError } from '../base/errors.ts';

export function changed(name: ByteString): TsbuildError {
  return new TsbuildError('CONTEXT_INVALID', `${JSON.stringify(toText(name))} changed while it was copied`, {
    hint: 'run the same command again when the files are still',
  });
}
