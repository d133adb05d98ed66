/** Ports of EXPOSE: `[ip:][host:]port[-end][/protocol]`. Only the container's side has a meaning in an image. */
import type { SourceRef, TsbuildError } from '../../src/base/errors.ts';
import type { Linter } from '../lint/linter.ts';
import { syntaxError } from '../parse/source.ts';

interface Range {
  readonly from: number;
  readonly to: number;
}

/** `80/tcp`, …: one text per port. Throws INSTRUCTION_INVALID. */
export function parsePort(word: string, at: SourceRef, linter: Linter): readonly string[] {
  const fail = (reason: string, hint = 'write e.g. 80, 80/udp or 8000-8010'): TsbuildError =>
    syntaxError('INSTRUCTION_INVALID', reason, at, hint);
  const shown = JSON.stringify(word);
  const parts = word.split(':');
  const container = parts.at(-1) ?? '';
  const host = parts.at(-2) ?? '';
  const address = parts.slice(0, -2).join(':');
  const slash = container.indexOf('/');
  const ports = slash < 0 ? container : container.slice(0, slash);
  const written = slash < 0 ? '' : container.slice(slash + 1);
  const protocol = written === '' ? 'tcp' : written.toLowerCase();
  if (ports === '') throw fail(`invalid port ${shown}: no port specified`);
  if (!['tcp', 'udp', 'sctp'].includes(protocol))
    throw fail(`invalid port ${shown}: invalid protocol ${JSON.stringify(written)}`, 'use tcp, udp or sctp');
  if (written !== written.toLowerCase())
    linter.report('ExposeProtoCasing', `the protocol of '${word}' should be lower-case`, at);
  if (address !== '' || host !== '')
    linter.report(
      'ExposeInvalidFormat',
      `'${word}' has an address or a host port, which an image cannot decide: write ${container}`,
      at,
    );
  if (address !== '' && !isAddress(address)) throw fail(`invalid IP address ${JSON.stringify(address)}`);
  const range = parseRange(ports);
  if (range === undefined)
    throw fail(
      `invalid container port ${JSON.stringify(ports)}${ports === word ? '' : ` in ${shown}`}`,
      hintFor(ports),
    );
  if (host !== '') {
    const outside = parseRange(host);
    if (outside === undefined) throw fail(`invalid host port ${JSON.stringify(host)} in ${shown}`);
    if (range.to !== range.from && range.to - range.from !== outside.to - outside.from)
      throw fail(`the ranges of container and host ports in ${shown} differ in length`);
  }
  return Array.from({ length: range.to - range.from + 1 }, (_, index) => `${range.from + index}/${protocol}`);
}

function hintFor(ports: string): string {
  const [first = '', last = '', ...more] = ports.split('-');
  if (![first, last || '0'].every((each) => /^\d+$/.test(each)) || more.length > 0)
    return 'write numbers, e.g. 80, 80/udp or 8000-8010';
  return Math.max(Number(first), Number(last)) > 65535
    ? 'ports go up to 65535'
    : `write the lower port first: ${last}-${first}`;
}

function parseRange(text: string): Range | undefined {
  const [first = '', last, ...more] = text.split('-');
  const from = parseNumber(first);
  const to = last === undefined || last === first ? from : parseNumber(last);
  if (more.length > 0 || from === undefined || to === undefined || to < from) return undefined;
  return { from, to };
}

function parseNumber(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;
}

function isAddress(text: string): boolean {
  const bare = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text;
  const isV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(bare);
  return isV4 || (/^[0-9a-f:.]+$/i.test(bare) && bare.includes(':') && (bare.match(/::/g) ?? []).length <= 1);
}
