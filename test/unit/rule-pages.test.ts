/** Every rule of the linter has a page whose examples are true: the first breaks the rule, the second does not. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { digestOf } from '../../src/base/digest.ts';
import { checkDockerfile } from '../../frontend/frontend.ts';
import { RULES, rulePage, ruleOf, type RuleName } from '../../frontend/lint/rules.ts';
import { AMD64, imageConfig, requestOf } from '../suites/frontend-fixture.ts';

function packageRoot(): string {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at))
    if (existsSync(join(at, 'package.json'))) return at;
}

const root = packageRoot();
const names = Object.keys(RULES) as RuleName[];
const index = readFileSync(join(root, 'docs/rules/README.md'), 'utf8');

/** Names of the rules that a Dockerfile breaks, all experimental ones included. */
async function brokenRules(text: string): Promise<readonly string[]> {
  const { warnings, error } = await checkDockerfile(
    requestOf(text, {
      buildArgs: { BUILDKIT_DOCKERFILE_CHECK: 'experimental=all' },
      isIgnored: (path) => path === 'secret.txt',
      resolveImage(reference) {
        const platform = reference.includes('s390x') ? { os: 'linux', architecture: 's390x' } : AMD64;
        return Promise.resolve({
          reference,
          manifest: digestOf(reference),
          config: imageConfig({}, platform),
        });
      },
    }),
  );
  // A default that FROM needs is missing: that is what this rule is for.
  if (!warnings.some(({ rule }) => rule === 'InvalidDefaultArgInFrom')) assert.equal(error, undefined);
  return warnings.map(({ rule }) => rule);
}

test('names of pages are those of rules, in kebab case', () => {
  assert.equal(rulePage('JSONArgsRecommended'), 'docs/rules/json-args-recommended.md');
  assert.equal(rulePage('FromAsCasing'), 'docs/rules/from-as-casing.md');
  const pages = readdirSync(join(root, 'docs/rules')).map((file) => `docs/rules/${file}`);
  assert.deepEqual(pages.toSorted(), [...names.map(rulePage), 'docs/rules/README.md'].toSorted());
});

for (const name of names)
  test(`the page of ${name} has examples that are true`, async () => {
    const page = readFileSync(join(root, rulePage(name)), 'utf8');
    const [bad, good, ...more] = [...page.matchAll(/^```dockerfile\n(.*?)^```$/gms)].map(
      ([, text]) => text ?? '',
    );
    assert.ok(bad !== undefined && good !== undefined && more.length === 0);
    assert.ok((await brokenRules(bad)).includes(name), bad);
    assert.deepEqual(await brokenRules(good), [], good);
    assert.ok(page.startsWith(`# ${name}\n`));
    assert.ok(page.includes(`# check=skip=${name}\``));
    assert.equal(page.includes(`experimental=${name}`), ruleOf(name).experimental === true);
    assert.ok(index.includes(`[${name}](${rulePage(name).slice('docs/rules/'.length)})`));
    assert.ok(index.includes(ruleOf(name).summary));
  });
