/** Instructions, typed: what a Dockerfile says, before anything is expanded. */
import type { SourceRef } from '../../src/base/errors.ts';
import type { Healthcheck } from '../../src/oci/documents.ts';
import type { FlagValues, Pair } from '../parse/arguments.ts';
import type { Heredoc, RawInstruction } from '../parse/lines.ts';

/** Shell form is one text, exec form a list. */
export type Command =
  | { readonly form: 'shell'; readonly text: string }
  | { readonly form: 'exec'; readonly args: readonly string[] };

export type Instruction = { readonly raw: RawInstruction } & (
  | {
      readonly kind: 'FROM';
      readonly image: string;
      readonly platform?: string;
      /** Where --platform stands. */
      readonly platformAt?: SourceRef;
      readonly name?: string;
    }
  | { readonly kind: 'ARG'; readonly args: readonly { readonly name: string; readonly value?: string }[] }
  | { readonly kind: 'ENV' | 'LABEL'; readonly pairs: readonly Pair[]; readonly legacy: boolean }
  | {
      readonly kind: 'RUN';
      readonly command: Command;
      readonly flags: FlagValues;
      readonly heredocs: readonly Heredoc[];
    }
  | {
      readonly kind: 'COPY' | 'ADD';
      readonly sources: readonly string[];
      readonly destination: string;
      readonly flags: FlagValues;
      readonly heredocs: readonly Heredoc[];
    }
  | { readonly kind: 'CMD' | 'ENTRYPOINT'; readonly command: Command }
  | { readonly kind: 'SHELL'; readonly args: readonly string[] }
  | { readonly kind: 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER'; readonly text: string }
  | { readonly kind: 'EXPOSE' | 'VOLUME'; readonly words: readonly string[] }
  | { readonly kind: 'HEALTHCHECK'; readonly healthcheck: Healthcheck; readonly shell?: string }
  | { readonly kind: 'ONBUILD'; readonly text: string }
);

export type InstructionKind = Instruction['kind'];
export type InstructionOf<K extends InstructionKind> = Instruction & { readonly kind: K };

export const KEYWORDS: readonly string[] = [
  ...['ADD', 'ARG', 'CMD', 'COPY', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'FROM', 'HEALTHCHECK', 'LABEL'],
  ...['MAINTAINER', 'ONBUILD', 'RUN', 'SHELL', 'STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR'],
];
