/**
 * The default profile as a program for the kernel. For containers with the usual capabilities it was made when tsbuild
 * was built (esbuild.config.mjs), since making it takes as long as starting a container.
 */
import { DEFAULT_CAPABILITIES } from '../capabilities.ts';
import { compileDefaultProfile } from './compile.ts';
import { encodeProgram } from './program.ts';

/** `usualFilters()` as JSON; undefined in what was not bundled. */
declare const USUAL_FILTERS: string | undefined;

const ARCHES = ['amd64', 'arm64'];

const filters = new Map<string, Uint8Array>();

function keyOf(capabilities: readonly string[], arch: string): string {
  return `${arch} ${capabilities.join(' ')}`;
}

/** In base64, by capabilities and machine. */
export function usualFilters(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    ARCHES.map((arch) => [
      keyOf(DEFAULT_CAPABILITIES, arch),
      Buffer.from(encodeProgram(compileDefaultProfile(DEFAULT_CAPABILITIES, arch))).toString('base64'),
    ]),
  );
}

/** The filter for a container with these capabilities, on `arch` (`amd64`, `arm64`). */
export function defaultFilter(capabilities: readonly string[], arch: string): Uint8Array {
  const key = keyOf(capabilities, arch);
  const known = filters.get(key);
  if (known !== undefined) return known;
  const usual =
    typeof USUAL_FILTERS === 'undefined'
      ? undefined
      : (JSON.parse(USUAL_FILTERS) as ReturnType<typeof usualFilters>)[key];
  const made =
    usual === undefined
      ? encodeProgram(compileDefaultProfile(capabilities, arch))
      : Buffer.from(usual, 'base64');
  filters.set(key, made);
  return made;
}
