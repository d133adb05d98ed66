/** Sizes of memory for people: `64 MiB`, `1.5 GiB`, `512 B`. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function formatBytes(size: number): string {
  let [value, unit] = [size, 0];
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${Number(value.toFixed(1))} ${UNITS[unit] ?? ''}`;
}
