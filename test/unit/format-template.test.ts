import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from '../suites/properties.ts';
import { isTsbuildError } from '../../src/base/errors.ts';
import { compileTemplate } from '../../src/cli/format/execute.ts';
import { formatInspected } from '../../src/cli/format/inspected.ts';
import { formatList, tabulate } from '../../src/cli/format/rows.ts';
import { mapOf, printInner, type Value } from '../../src/cli/format/values.ts';

const DATA: Value = {
  Name: 'web',
  Empty: '',
  Count: 3,
  Ratio: 1.5,
  On: true,
  None: null,
  List: ['a', 'b', 'c'],
  Nothing: [],
  Labels: mapOf({ b: '2', a: '1', 'com.x/y': 'z' }),
  State: { Pid: 7, Running: false },
  Mounts: [
    { Source: '/s', Destination: '/d' },
    { Source: '/t', Destination: '/e' },
  ],
  Label: (name: Value) => `label ${printInner(name)}`,
};

const render = (template: string): string => compileTemplate(template).execute(DATA);

/** Template → what Go's text/template prints for the same data. */
const RENDERED: readonly (readonly [string, string])[] = [
  ['plain', 'plain'],
  ['{{.Name}}', 'web'],
  ['{{ .Name }}:{{.Count}}', 'web:3'],
  ['{{.State.Pid}}', '7'],
  ['{{.State}}', '{7 false}'],
  ['{{.List}} {{.Nothing}}', '[a b c] []'],
  ['{{.Labels}}', 'map[a:1 b:2 com.x/y:z]'],
  ['{{.Labels.a}} {{.Labels.none}}', '1 <no value>'],
  ['{{index .Labels "com.x/y"}}', 'z'],
  ['{{index .Labels "none"}}|', '|'],
  ['{{index .List 1}}', 'b'],
  ['{{(index .Mounts 1).Source}}', '/t'],
  ['{{index (index .Mounts 0) "Source"}}', '/s'],
  ['{{.None}}', '<nil>'],
  ['{{.Ratio}}', '1.5'],
  ['{{range .List}}<{{.}}>{{end}}', '<a><b><c>'],
  ['{{range .Nothing}}x{{else}}none{{end}}', 'none'],
  ['{{range $i, $v := .List}}{{if $i}},{{end}}{{$i}}={{$v}}{{end}}', '0=a,1=b,2=c'],
  ['{{range $v := .List}}{{$v}}{{end}}', 'abc'],
  ['{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}', 'a=1;b=2;com.x/y=z;'],
  ['{{range .Mounts}}{{.Source}}:{{.Destination}} {{$.Name}} {{end}}', '/s:/d web /t:/e web '],
  ['{{range .List}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', 'ac'],
  ['{{range .List}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', 'a'],
  ['{{range 3}}{{.}}{{end}}', '012'],
  ['{{if .On}}yes{{else}}no{{end}}', 'yes'],
  ['{{if .Empty}}yes{{else if .Nothing}}list{{else}}no{{end}}', 'no'],
  ['{{if and .On (not .State.Running)}}ok{{end}}', 'ok'],
  ['{{with .State}}{{.Pid}}{{end}}{{with .Empty}}x{{else}}-{{end}}', '7-'],
  ['{{$x := .Count}}{{$x}}{{$x = 4}}{{$x}}', '34'],
  ['{{if true}}{{$x := 1}}{{$x}}{{end}}', '1'],
  ['{{json .Labels}}', '{"a":"1","b":"2","com.x/y":"z"}'],
  ['{{json .State}} {{json .Name}} {{json .None}}', '{"Pid":7,"Running":false} "web" null'],
  ['{{.Name | upper | printf "%s!"}}', 'WEB!'],
  ['{{join .List ", "}}', 'a, b, c'],
  ['{{split "a:b" ":"}}', '[a b]'],
  ['{{title "some words"}} {{lower "ABC"}}', 'Some Words abc'],
  ['{{truncate .Name 2}}|{{pad .Name 1 2}}|', 'we| web  |'],
  ['{{len .List}} {{len .Name}} {{len .Labels}}', '3 3 3'],
  ['{{println "a" 1}}', 'a 1\n'],
  ['{{print 1 2 "a" "b" 3}}', '1 2ab3'],
  [
    '{{printf "%-5s|%5d|%05d|%q|%x|%.2f|%t|%v|%%" .Name 42 42 "q" 255 .Ratio .On .List}}',
    'web  |   42|00042|"q"|ff|1.50|true|[a b c]|%',
  ],
  ['{{printf "%d" "x"}}', '%!d(string=x)'],
  ['{{printf "%d %d" 1}}', '1 %!d(MISSING)'],
  ['{{printf "a" 1}}', 'a%!(EXTRA int=1)'],
  ['{{eq .Count 3}} {{ne .Name "web"}} {{lt 1 2}} {{ge 2 3}} {{eq 1 2 3 1}}', 'true false true false true'],
  ['{{or .Empty "default"}} {{and .Name .Empty}}|', 'default |'],
  ['{{slice .Name 1 2}} {{slice .List 1}}', 'e [b c]'],
  ['a {{- " b " -}} c', 'a b c'],
  ['{{/* nothing */}}x{{- /* here */ -}} y', 'xy'],
  ['{{.Label "com.x/y"}}', 'label com.x/y'],
  ['{{`raw\\n`}}{{"\\t\\u00e9\\x41"}}', 'raw\\n\té\x41'],
  ['{{html "<a&b>"}} {{urlquery "a b&c"}}', '&lt;a&amp;b&gt; a+b%26c'],
  ['{{$.Name}}', 'web'],
  ['{{true}} {{-1}} {{0x1f}} {{1.25}}', 'true -1 31 1.25'],
];

for (const [template, expected] of RENDERED)
  test(`${template} prints as Go does`, () => {
    assert.equal(render(template), expected);
  });

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ['{{', /unclosed action/],
  ['{{.Name', /unclosed action/],
  ['{{.Name}', /unexpected "}" in command/],
  ['{{if .On}}', /unexpected EOF/],
  ['{{end}}', /unexpected \{\{end\}\}/],
  ['{{else}}', /unexpected \{\{else\}\}/],
  ['{{}}', /missing value for command/],
  ['{{if}}x{{end}}', /missing value for if/],
  ['{{nope .}}', /function "nope" not defined/],
  ['{{template "x"}}', /not supported/],
  ['{{.Missing}}', /can't evaluate field Missing/],
  ['{{.State.Missing}}', /<\.State\.Missing>: can't evaluate field Missing/],
  ['{{.Name.Missing}}', /in type string/],
  ['{{.constructor}}', /can't evaluate field constructor/],
  ['{{.State.__proto__}}', /can't evaluate field __proto__/],
  ['{{.None.X}}', /nil data/],
  ['{{index .List 9}}', /index out of range: 9/],
  ['{{index .List "a"}}', /expected int/],
  ['{{range .Name}}{{end}}', /range can't iterate over web/],
  ['{{$x}}', /undefined variable "\$x"/],
  ['{{if true}}{{$x := 1}}{{end}}{{$x}}', /undefined variable/],
  ['{{"a}}', /unterminated quoted string/],
  ['{{(.Name}}', /unclosed left paren/],
  ['{{break}}', /outside \{\{range\}\}/],
  ['{{upper 1}}', /expected string; got int/],
  ['{{upper}}', /want 1 got 0/],
  ['{{/* a', /unclosed comment/],
  ['{{.Name 1}}', /can't give argument to non-function/],
  [`${'{{if true}}'.repeat(100)}x${'{{end}}'.repeat(100)}`, /more than 64 levels/],
  [`{{${'('.repeat(200)}1${')'.repeat(200)}}}`, /more than 64 levels/],
  ['{{range 100000}}{{range 100000}}{{end}}{{end}}', /too many steps/],
  ['{{range 1000000}}{{printf "%4000d" 1}}{{end}}', /writes too much/],
  ['{{printf "%99999d" 1}}', /width out of range/],
  ['x'.repeat(70000), /template of 70000 characters/],
];

for (const [template, message] of REFUSED)
  test(`${template.slice(0, 50)} is refused`, () => {
    assert.throws(
      () => render(template),
      (error) => isTsbuildError(error, 'USAGE') && message.test(error.message),
    );
  });

test('any text is either rendered or refused, never a crash', () => {
  const piece = fc.constantFrom(
    ...[
      '{{',
      '}}',
      '-',
      ' ',
      '.',
      '.Name',
      '$x',
      ':=',
      '|',
      '(',
      ')',
      'if',
      'range',
      'end',
      'else',
      '"',
      '`',
      '1',
    ],
    ...[
      'index',
      'printf',
      '%d',
      '.Labels',
      '.List',
      'json',
      'with',
      '/*',
      '*/',
      '\\',
      "'",
      '\n',
      '=',
      ',',
      '$',
    ],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      try {
        compileTemplate(pieces.join('')).execute(DATA);
      } catch (error) {
        assert.ok(isTsbuildError(error, 'USAGE'), String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

const VIEW = {
  headings: { ID: 'CONTAINER ID', Names: 'NAMES', Labels: 'LABELS' },
  table: '{{.ID}}\t{{.Names}}',
  quiet: 'ID',
};
const ROWS = [
  { ID: 'abc', Names: 'web', Labels: 'a=b', Label: () => 'L' },
  { ID: '0123456789abcdef', Names: 'db', Labels: '', Label: () => '' },
];

test('a list is a table of its columns unless a format is given', () => {
  assert.equal(
    formatList(VIEW, ROWS, { format: undefined }),
    'CONTAINER ID       NAMES\nabc                web\n0123456789abcdef   db\n',
  );
  assert.equal(formatList(VIEW, [], { format: 'table' }), 'CONTAINER ID   NAMES\n');
});

test('a table has headings for the fields of its template', () => {
  assert.equal(
    formatList(VIEW, ROWS, { format: 'table {{.Names}}\\t{{.Label "com.x.some-name"}}\\t{{.ID}}' }),
    'NAMES     some name   ID'.replace('ID', 'CONTAINER ID') +
      '\nweb       L           abc\ndb                    0123456789abcdef\n',
  );
});

test('a template, json and --quiet print a line per row', () => {
  assert.equal(formatList(VIEW, ROWS, { format: '{{.Names}}={{.ID}}' }), 'web=abc\ndb=0123456789abcdef\n');
  assert.equal(
    formatList(VIEW, ROWS.slice(0, 1), { format: 'json' }),
    '{"ID":"abc","Labels":"a=b","Names":"web"}\n',
  );
  assert.equal(formatList(VIEW, ROWS, { format: undefined, quiet: true }), 'abc\n0123456789abcdef\n');
});

test('cells are aligned in blocks of adjacent lines, as tabwriter does', () => {
  assert.equal(tabulate(['a\tb', 'x', 'long word here\tc']), 'a         b\nx\nlong word here   c\n');
});

test('inspect prints indented JSON, lines of JSON, or a template per thing', () => {
  const things: Value[] = [{ Id: 'a', Labels: mapOf({ z: '1', b: '2' }) }];
  assert.equal(
    formatInspected(things, undefined),
    '[\n    {\n        "Id": "a",\n        "Labels": {\n            "b": "2",\n            "z": "1"\n        }\n    }\n]\n',
  );
  assert.equal(formatInspected(things, 'json'), '[{"Id":"a","Labels":{"b":"2","z":"1"}}]\n');
  assert.equal(formatInspected(things, '{{.Id}}'), 'a\n');
});
