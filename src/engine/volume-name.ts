/** Names of volumes: one word of a path, so that none leads anywhere else. */

export const VOLUME_NAME_RULE = 'use [a-zA-Z0-9][a-zA-Z0-9_.-]*, or write a path with / or ./ before it';

export function isVolumeName(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(name);
}
