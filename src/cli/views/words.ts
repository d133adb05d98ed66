/** Times, sizes and ids in docker's words (docker/go-units, docker/cli formatters). */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `About an hour`, `3 days`. */
export function humanDuration(seconds: number): string {
  if (seconds < 1) return 'Less than a second';
  if (seconds < 2) return '1 second';
  if (seconds < MINUTE) return `${Math.floor(seconds)} seconds`;
  const minutes = Math.floor(seconds / MINUTE);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(seconds / HOUR + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor(hours / 24);
  if (days < 14) return `${days} days`;
  if (days < 60) return `${Math.floor(days / 7)} weeks`;
  return days < 730 ? `${Math.floor(days / 30)} months` : `${Math.floor(seconds / DAY / 365)} years`;
}

/** `3 days ago`; `N/A` where nobody knows. */
export function age(created: string | undefined, nowMs: number): string {
  const time = created === undefined ? NaN : Date.parse(created);
  if (Number.isNaN(time) || time <= 0) return 'N/A';
  return `${humanDuration(Math.max(0, (nowMs - time) / 1000))} ago`;
}

/** `2026-01-02 15:04:05 +0000 UTC`, as Go prints a time. */
export function goTime(time: string | undefined): string {
  const ms = time === undefined ? NaN : Date.parse(time);
  if (Number.isNaN(ms)) return '';
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `1.952MiB`: memory, four digits. */
export function binarySize(size: number): string {
  return scaled(size, 1024, BINARY, 4);
}

/** `1.09MB`: files and traffic, three digits. */
export function decimalSize(size: number): string {
  return scaled(size, 1000, DECIMAL, 3);
}

function scaled(size: number, base: number, units: readonly string[], digits: number): string {
  let value = size;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  return `${Number(value.toPrecision(digits))}${units[unit] ?? ''}`;
}

/** The first twelve digits, unless all are wanted. */
export function shortID(id: string, whole = false): string {
  if (whole) return id;
  return id.replace(/^sha256:/, '').slice(0, 12);
}

/** At most `length` characters, the last one an ellipsis where something is left out. */
export function ellipsis(text: string, length: number): string {
  const chars = [...text];
  return chars.length <= length ? text : `${chars.slice(0, length - 1).join('')}…`;
}

/** `a=1,b=2`, sorted: how lists show labels. */
export function labelText(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(',');
}
