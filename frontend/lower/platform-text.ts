/** `os/architecture[/variant]` of FROM --platform, normalised as registries write it. */
import type { Platform } from '../../src/oci/documents.ts';
import { parsePlatform } from '../../src/oci/platform.ts';

export function parsePlatformText(text: string): Platform | undefined {
  try {
    return parsePlatform(text);
  } catch {
    return undefined;
  }
}
