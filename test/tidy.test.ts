// The house rules, enforced: who may import whom, a pure core, files that say what they are for, documents that name only
// what exists. The rules are functions (test/support/tidyRules.ts); here each is first shown something bad, to see that it
// objects, and then the whole tree.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import {
  commandLinesIn,
  importProblems,
  importsOf,
  isCore,
  optionsIn,
  originProblems,
  pathsIn,
  purityProblems,
  scan,
  shapeProblems,
  versionProblems,
  wordProblems,
} from './support/tidyRules.ts';

const root = join(import.meta.dirname, '..');
const documents = ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'LICENSE', 'NOTICE'];
const isText =
  /\.(?:ts|js|json|md|sh|py|conf|ya?ml)$|^\.ci\/|^(?:LICENSE|NOTICE)$|(?:^|\/)(?:Dockerfile|\.dockerignore|make-[\w-]+)$/;

const files = ['services', 'shared', 'test', 'deploy', '.ci']
  .flatMap(filesIn)
  .concat(readdirSync(root))
  .filter(isTextFile);
const sources = files.filter((file) => /^(?:services|shared|test|deploy)\/.*\.[cm]?[jt]s$/.test(file));
const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('tidy', () => {
  it('tidy - the whole tree keeps the rules for code', () => {
    assert.ok(sources.length > 150, `only ${sources.length} sources found`);
    const rules = [importProblems, purityProblems, wordProblems, shapeProblems];
    const problems = sources.flatMap((file) => {
      const source = read(file);
      const { code } = scan(source);
      const depth = code.split('{').length - code.split('}').length;
      assert.equal(depth, 0, `${file}: scan (test/support/tidyRules.ts) takes code for text here, or text for code`);
      return rules.flatMap((rule) => rule(file, source)).map((problem) => `${file} ${problem}`);
    });
    assert.deepEqual(problems, []);
  });

  it('tidy - no file speaks of the machine or the way it was made', () => {
    const problems = files.flatMap((file) => originProblems(read(file)).map((problem) => `${file} ${problem}`));
    const words = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) => wordProblems(file, read(file)).map((problem) => `${file} ${problem}`));
    assert.deepEqual([...problems, ...words], []);
  });

  it('tidy - the documents are there, and every path they name exists', () => {
    for (const document of documents) assert.ok(existsSync(join(root, document)) && read(document) !== '', document);
    for (const document of ['README.md', 'ARCHITECTURE.md']) {
      const named = pathsIn(read(document));
      assert.ok(named.length > 3, `${document} names hardly any path`);
      assert.deepEqual(
        named.filter((path) => !isThere(path)),
        [],
        `${document} names what does not exist`,
      );
    }
  });

  it('tidy - every command and option that the documents name exists', async () => {
    const help = await helpOfAll();
    const manifest = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const document of ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'test/captures/README.md']) {
      const text = read(document);
      for (const { command, options } of commandLinesIn(text)) {
        const known = help.get(command);
        assert.ok(known !== undefined, `${document}: there is no command "npx flowherd ${command}"`);
        for (const option of options) assert.ok(known.has(option), `${document}: ${command} has no option ${option}`);
      }
      const anywhere = new Set([...help.values()].flatMap((options) => [...options]));
      // Docker's own options are Docker's to know.
      for (const option of optionsIn(text.replace(/docker compose [^`\n]*(?:\n[^`\n]+`)?/g, '')))
        assert.ok(anywhere.has(option), `${document}: nothing has an option ${option}`);
      for (const [, script] of text.matchAll(/npm run ([a-z]+)/g))
        assert.ok(script in manifest.scripts, `${document}: there is no script ${script}`);
    }
  });

  it('tidy - the package, its lock, the images and the newest entry of the changelog say the same version', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    const lock = JSON.parse(read('package-lock.json')) as { version: string; packages: { '': { version: string } } };
    assert.deepEqual([lock.version, lock.packages[''].version], [version, version]);
    assert.equal(/^ARG VERSION=(.*)$/m.exec(read('deploy/Dockerfile'))?.[1], version);
    assert.equal(/^## (\S+)/m.exec(read('CHANGELOG.md'))?.[1], version);
  });

  it('tidy - every dependency is one version', () => {
    assert.deepEqual(versionProblems(JSON.parse(read('package.json'))), []);
  });
});

describe('tidy rules object', () => {
  const objects = (problems: readonly string[], expected: RegExp) => {
    assert.equal(problems.length, 1, problems.join('; '));
    assert.match(problems[0], expected);
  };

  it('tidy rules - to imports against the order of the parts', () => {
    const from = (target: string) => `import { x } from '${target}';\n`;
    objects(
      importProblems('shared/flow/keyer.ts', from('../../services/dssl/replica/decide.ts')),
      /may import from shared/,
    );
    objects(importProblems('services/tier1/distribute.ts', from('../dssl/verdict.ts')), /may import from/);
    objects(
      importProblems('services/dssl/replica/decide.ts', from('../../tier1/routing/groupTable.ts')),
      /may import from/,
    );
    objects(importProblems('services/dssl/egress/handlers/load.ts', from('../../../cli/log.ts')), /may import from/);
    objects(importProblems('services/cli/run/replay.ts', from('../../../test/support/shares.ts')), /may import from/);
    objects(importProblems('deploy/examples/a.ts', from('../../services/dssl/replica/decide.ts')), /may import from/);
    objects(importProblems('services/cli/run/replay.ts', from('./demo')), /suffix/);
    objects(importProblems('services/cli/run/replay.ts', from('nats')), /only/);
    objects(importProblems('services/cli/run/replay.ts', from('left-pad')), /packageUsers/);
    objects(importProblems('services/dssl/replica/decide.ts', from('node:fs')), /is core/);
    objects(importProblems('services/dssl/replica/rows.ts', from('../actor.ts')), /types only/);
    objects(importProblems('services/dssl/replica/rows.ts', "export * from '../actor.ts';\n"), /types only/);
    objects(importProblems('services/dssl/replica/rows.ts', "const x = import('node:net');\n"), /is core/);
    assert.deepEqual(importProblems('services/dssl/replica/rows.ts', "import type { A } from '../actor.ts';\n"), []);
    assert.deepEqual(
      importProblems('services/dssl/replica/rows.ts', "import { type A, type B } from '../actor.ts';\n"),
      [],
    );
    assert.deepEqual(importProblems('services/cli/run/dssl.ts', from('../../dssl/actor.ts')), []);
    assert.deepEqual(importProblems('services/cli/a.ts', 'const text = "import x from \'left-pad\'";\n'), []);
  });

  it('tidy rules - to time, chance, waiting and the environment in the core', () => {
    const env = 'process.' + 'env';
    objects(purityProblems('shared/log/records/frame.ts', 'const t = Date.now();'), /Date\.now/);
    objects(purityProblems('services/dssl/replica/decide.ts', 'if (Math.random() < 0.5) return;'), /Math\.random/);
    objects(purityProblems('services/dssl/actor.ts', 'setTimeout(tick, 20);'), /setTimeout/);
    objects(purityProblems('services/dssl/replica/rows.ts', 'async tick() {}'), /async/);
    objects(purityProblems('services/tier1/distribute.ts', `const t = \`\${performance.now()} ms\`;`), /performance/);
    objects(purityProblems('services/cli/run/demo.ts', `const path = ${env}.PATH;`), /services\/cli\/main\.ts/);
    objects(purityProblems('shared/flow/keyer.ts', 'console.log(1);'), /console/);
    assert.deepEqual(
      purityProblems('shared/log/records/frame.ts', '// Date.now() is not asked\nconst text = "await";'),
      [],
    );
    assert.deepEqual(purityProblems('services/cli/main.ts', `read(${env});`), []);
    objects(purityProblems('services/loadgen/ledger.ts', 'async settle() {}'), /async/);
    assert.ok(
      isCore('services/dssl/replica/decide.ts') && !isCore('services/dssl/actor.ts') && !isCore('test/tidy.test.ts'),
    );
    assert.ok(isCore('services/loadgen/ledger.ts') && !isCore('services/loadgen/drive.ts'));
  });

  it('tidy rules - to promises in words, tests that do not run, and enums', () => {
    objects(wordProblems('shared/flow/keyer.ts', `// ${'TO' + 'DO'}: fragments\n`), /do it/);
    objects(wordProblems('README.md', `It is ${'simpli' + 'fied'}.`), /do it/);
    objects(wordProblems('test/a.test.ts', `test${'.on' + 'ly'}('a', () => {});`), /a test runs/);
    objects(wordProblems('test/a.test.ts', "test('a', { skip: true }, () => {});"), /a test runs/);
    objects(
      wordProblems('test/a.test.ts', 'await new Promise((resolve) => setTimeout(resolve, 500));'),
      /a test waits for/,
    );
    objects(
      wordProblems('test/a.test.ts', `import { setTimeout as pass } from 'node:timers${'/promises'}';`),
      /a test waits for/,
    );
    assert.deepEqual(wordProblems('test/a.test.ts', 'setTimeout(fail, 60_000);'), []);
    objects(wordProblems('shared/flow/keyer.ts', 'export enum Kind { A }'), /enum/);
    objects(wordProblems('shared/flow/keyer.ts', 'declare namespace A { }'), /namespace/);
  });

  it('tidy rules - to files that do not say what they are for, and to long ones', () => {
    objects(shapeProblems('shared/a.ts', "import x from './b.ts';\n"), /full sentence/);
    objects(shapeProblems('shared/a.ts', '// frames\nconst a = 1;\n'), /full sentence/);
    objects(shapeProblems('shared/a.ts', `// What a long file is for.\n${'const a = 1;\n'.repeat(400)}`), /401 lines/);
    assert.deepEqual(shapeProblems('shared/a.ts', '#!/usr/bin/env node\n// What this file is for.\n'), []);
  });

  it('tidy rules - to paths of one machine and words that are not of the product', () => {
    objects(originProblems(`see '/${'ho' + 'me'}/me/x.pcap'`), /one machine/);
    objects(originProblems(`made by ${'Cla' + 'ude'}`), /of itself/);
    assert.deepEqual(originProblems('--handler-option dir=/tmp/servers, the user agent'), []);
  });

  it('tidy rules - to versions that leave something open', () => {
    objects(versionProblems({ dependencies: { nats: '^2.29.3' } }), /pin/);
    objects(versionProblems({ overrides: { a: { b: '1.0.0' } } }), /pin/);
    assert.deepEqual(versionProblems({ dependencies: { nats: '2.29.3' } }), []);
  });

  it('tidy rules - read code and documents rightly', () => {
    const { code } = scan(`const a = /['/]/.test(b) ? \`x\${c('}')}y\` : 4 / 2; // z 'q\nconst d = 'e';`);
    assert.equal(code.replace(/ +/g, ' '), `const a = / /.test(b) ? \` \${c(' ')} \` : 4 / 2; \nconst d = ' ';`);
    assert.deepEqual(importsOf("const b = Buffer.from('x');\nimport 'node:fs';"), [
      { specifier: 'node:fs', typeOnly: false },
    ]);
    assert.deepEqual(pathsIn('`shared/log/records/frame.ts`, ./deploy/examples/. and /test/x'), [
      'shared/log/records/frame.ts',
      'deploy/examples',
      'test/x',
    ]);
    assert.deepEqual(commandLinesIn('`npx flowherd demo --rate 5` and\nnpx flowherd dssl \\\n  --bus x # --no\n'), [
      { command: 'demo', options: ['--rate'] },
      { command: 'dssl', options: ['--bus'] },
    ]);
  });
});

/** The long options of each command, by its name; under '' those of the program, and under 'bench' the benchmarks'. */
async function helpOfAll(): Promise<Map<string, Set<string>>> {
  const run = async (script: string, ...args: string[]) =>
    (await promisify(execFile)(process.execPath, [join(root, script), ...args, '--help'])).stdout;
  const main = 'services/cli/main.ts';
  const top = await run(main);
  const commands = [...top.matchAll(/^ {2}([a-z]\w*) (?:\[| {2})/gm)]
    .map(([, name]) => name)
    .filter((name) => name !== 'help');
  assert.ok(commands.length >= 4, `flowherd --help lists ${commands}`);
  const texts = await Promise.all(commands.map((command) => run(main, command)));
  const help = new Map(commands.map((command, index) => [command, new Set(optionsIn(texts[index]))]));
  return help.set('', new Set(optionsIn(top))).set('bench', new Set(optionsIn(await run('test/bench/main.ts'))));
}

function isThere(path: string): boolean {
  if (!path.includes('*')) return existsSync(join(root, path));
  const pattern = new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\*/g, '[^/]*')}$`);
  return files.some((file) => pattern.test(file));
}

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

function isTextFile(file: string): boolean {
  return isText.test(file) && file !== 'package-lock.json';
}
