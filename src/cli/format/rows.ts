/**
 * Lists as docker shows them: a table of its columns, `table TEMPLATE`, `json`, or a template per row.
 *
 * Source: docker/cli, cli/command/formatter (formatter.go, custom.go); tabwriter with minimum width 10, padding 3.
 */
import { compileTemplate } from './execute.ts';
import type { Method, Struct, Value } from './values.ts';

export interface ListView {
  /** Field → heading: every field that a template may name. */
  readonly headings: Readonly<Record<string, string>>;
  /** Template of the table that is shown without --format. */
  readonly table: string;
  /** Fields that `json` leaves out. */
  readonly notInJson?: readonly string[];
  /** Field shown alone by --quiet. */
  readonly quiet?: string;
}

export interface ListOptions {
  readonly format: string | undefined;
  readonly quiet?: boolean;
}

/** The text to print, with its last newline. Throws USAGE for a template that does not work. */
export function formatList(view: ListView, rows: readonly Struct[], { format, quiet }: ListOptions): string {
  const asked = format ?? 'table';
  if (quiet === true && view.quiet !== undefined && (asked === 'table' || asked === 'raw'))
    return lines(rows, `{{.${view.quiet}}}`);
  if (asked === 'json') return rows.map((row) => `${rowAsJson(view, row)}\n`).join('');
  const isTable = /^table(?:\s|$)/.test(asked);
  if (!isTable) return lines(rows, unescape(asked));
  const given = unescape(asked.slice('table'.length)).trim();
  const template = compileTemplate(given === '' ? view.table : given);
  const head = template.execute(headRow(view));
  return tabulate([head, ...rows.map((row) => template.execute(row))]);
}

/** A shell's single quotes keep `\t`; docker turns it into what was meant. */
function unescape(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
}

function lines(rows: readonly Struct[], text: string): string {
  const template = compileTemplate(text);
  return rows.map((row) => `${template.execute(row)}\n`).join('');
}

function rowAsJson(view: ListView, row: Struct): string {
  const fields = Object.keys(view.headings)
    .filter((field) => view.notInJson?.includes(field) !== true && typeof row[field] !== 'function')
    .sort();
  return JSON.stringify(Object.fromEntries(fields.map((field) => [field, row[field] ?? ''])));
}

/** What stands in for a row in the table's first line: each field is its heading, each method the name asked for. */
function headRow(view: ListView): Struct {
  const heading: Method = (...args: readonly Value[]) => {
    const [name] = args;
    return typeof name === 'string' ? (name.split('.').at(-1) ?? name).replace(/[-_]/g, ' ').trim() : '';
  };
  return { ...view.headings, Label: heading };
}

const MINIMUM_WIDTH = 10;
const PADDING = 3;

/** Aligns the cells that tabs end; what stands after the last tab of a line is left as it is. */
export function tabulate(texts: readonly string[]): string {
  const table = texts.flatMap((text) => text.split('\n')).map((line) => line.split('\t'));
  const widths: number[][] = table.map((cells) => cells.map(() => 0));
  const columns = Math.max(0, ...table.map((cells) => cells.length));
  for (let column = 0; column < columns; column += 1) alignColumn(table, widths, column);
  return table
    .map((cells, row) => cells.map((cell, column) => pad(cell, widths[row]?.[column] ?? 0)).join('') + '\n')
    .join('');
}

function pad(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - displayWidth(cell)));
}

function displayWidth(cell: string): number {
  return [...cell].length;
}

/** As Go's tabwriter: a column is a block of adjacent lines that all have a tab there. */
function alignColumn(table: readonly (readonly string[])[], widths: number[][], column: number): void {
  for (let start = 0; start < table.length; start += 1) {
    let end = start;
    let width = 0;
    while (end < table.length && (table[end]?.length ?? 0) > column + 1) {
      width = Math.max(width, displayWidth(table[end]?.[column] ?? '') + PADDING);
      end += 1;
    }
    for (let row = start; row < end; row += 1) {
      const line = widths[row];
      if (line !== undefined) line[column] = Math.max(width, MINIMUM_WIDTH);
    }
    start = Math.max(start, end - 1);
  }
}
