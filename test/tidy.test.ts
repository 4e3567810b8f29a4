/** The rules of this code base that a machine can hold: what it depends on, which way imports point, how long things are. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { CHECKOUT } from './support/server-process.ts';

const SOURCE = join(CHECKOUT, 'src');
const MAX_LINE_CHARACTERS = 140;
const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 60;
/** What a newcomer reads; the rest stands next to what it is about. */
const MAX_FRONT_PAGE_LINES = 250;

/** A file may import from its own layer and from those below, never from one above. Each is named by where its files are, below `root`. */
interface Layers {
  readonly root: string;
  /** From the top down. */
  readonly layers: readonly (readonly string[])[];
}

const SOURCE_LAYERS: Layers = {
  root: SOURCE,
  layers: [
    ['server.ts', 'healthcheck.ts', 'move.ts', 'backup.ts', 'restore.ts', 'verify.ts'], ['process'], ['app.ts'], ['routes.ts'],
    ['webhook', 'query', 'stream', 'operations', 'dashboard'],
    ['http', 'storage'], ['config', 'observe'], ['message.ts', 'errors.ts', 'line-ends.ts', 'rotation.ts', 'version.ts'],
  ],
};
/** The rooms of the embedded storage. */
const SQLITE_LAYERS: Layers = {
  root: join(SOURCE, 'storage/sqlite'),
  layers: [
    ['adapter.ts', 'care'], ['reading', 'writing', 'moving'], ['indexing'], ['file'],
    ['snapshot-gate.ts', 'thread.ts', 'connection-options.ts', 'failures.ts', 'row-ids.ts'],
  ],
};

const isIn = ({ root }: Layers, path: string) => path.startsWith(`${root}/`);
const layerOf = ({ root, layers }: Layers, path: string) => layers.findIndex((layer) => layer.includes(relative(root, path).split('/')[0] ?? ''));

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function readSources(folder: string, extension = '.ts'): SourceFile[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(extension)).map((name) => readSource(join(folder, name)));
}

function readSource(path: string): SourceFile {
  const text = readFileSync(path, 'utf8');
  const imports = [...text.matchAll(/^(?:import|export|\}).* from '([^']+)'|(?:^import |\bimport\()'([^']+)'/gm)].map(([, named, bare]) => named ?? bare ?? '');
  return { path, text, imports };
}

/** The files of this tree that a file imports. */
const targetsOf = ({ path, imports }: Pick<SourceFile, 'path' | 'imports'>) =>
  imports.filter((found) => found.startsWith('.')).map((found) => join(dirname(path), found));

const sources = readSources(SOURCE);
/** What the browser gets, as it is. */
const scripts = ['send', 'sbom'].map((name) => readSource(join(CHECKOUT, 'scripts', `${name}.ts`)));
const pageSources = readSources(join(SOURCE, 'dashboard/page'), '.js');

describe('dependencies', () => {
  const manifest: { dependencies?: object; devDependencies: object } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));

  test('there are none at run time, and two to build', () => {
    assert.equal(manifest.dependencies, undefined);
    assert.deepEqual(Object.keys(manifest.devDependencies), ['@types/node', 'typescript']);
  });

  test('every import is of Node.js or of this tree', () => {
    assert.ok(sources.length > 20);
    for (const { path, imports } of [...sources, ...pageSources, ...readSources(join(CHECKOUT, 'test')), ...scripts]) {
      for (const specifier of imports) assert.match(specifier, /^(?:node:|\.\.?\/)/, `${path}: ${specifier}`);
    }
  });

  test('every locked package has a hash and no download address', () => {
    for (const folder of ['.', 'scripts/runtime']) {
      const { packages }: { packages: Record<string, { integrity?: string; resolved?: string }> } =
        JSON.parse(readFileSync(join(CHECKOUT, folder, 'package-lock.json'), 'utf8'));
      for (const [name, { integrity, resolved }] of Object.entries(packages)) {
        if (name === '') continue;
        assert.match(integrity ?? '', /^sha512-/, name);
        assert.equal(resolved, undefined, name);
      }
    }
  });
});

describe('structure', () => {
  for (const layers of [SOURCE_LAYERS, SQLITE_LAYERS]) {
    test(`every file of ${relative(CHECKOUT, layers.root)} has its layer, and no import points up`, () => {
      for (const { path, imports } of sources.filter((source) => isIn(layers, source.path))) {
        assert.notEqual(layerOf(layers, path), -1, `${path} is in no layer`);
        for (const target of targetsOf({ path, imports }).filter((found) => isIn(layers, found))) {
          assert.ok(layerOf(layers, target) >= layerOf(layers, path), `${relative(SOURCE, path)} imports ${relative(SOURCE, target)}, which is above it`);
        }
      }
    });
  }

  test('no files import each other, by whatever way round', () => {
    const targets = new Map(sources.map((source) => [source.path, targetsOf(source)]));
    const isCleared = new Set<string>();
    const walk = (path: string, way: readonly string[]): void => {
      assert.ok(!way.includes(path), [...way, path].map((step) => relative(SOURCE, step)).join(' imports '));
      if (isCleared.has(path)) return;
      for (const target of targets.get(path) ?? []) walk(target, [...way, path]);
      isCleared.add(path);
    };
    for (const { path } of sources) walk(path, []);
  });

  test('threads begin in files that say so, and nothing imports those', () => {
    for (const { path, text, imports } of sources) {
      assert.equal(/\bworkerData\b.*from 'node:worker_threads'/.test(text), path.endsWith('-thread.ts'), path);
      assert.ok(!imports.some((found) => found.endsWith('-thread.ts')), path);
    }
  });

  test('what the layers above may not know, they do not import', () => {
    for (const { path, imports } of sources) {
      const place = relative(SOURCE, path);
      if (!place.startsWith('storage/sqlite/')) assert.ok(!imports.includes('node:sqlite'), place);
      // It could be lifted out.
      if (place.includes('/text-index/')) assert.ok(!imports.some((found) => found.startsWith('../')), place);
      if (!place.startsWith('storage/')) assert.ok(!imports.some((found) => /\/(?:sqlite|postgres)\//.test(found)), place);
      // Who embeds the database never loads what speaks to another, and the other way round.
      for (const [own, other] of [['sqlite', 'postgres'], ['postgres', 'sqlite']] as const) {
        if (place.startsWith(`storage/${own}/`)) assert.ok(!imports.some((found) => found.includes(`/${other}/`)), place);
      }
      if (place.startsWith('http/')) assert.ok(!imports.some((found) => /storage|webhook|query/.test(found)), place);
      if (place.startsWith('storage/')) assert.ok(!imports.some((found) => found.includes('http')), place);
    }
  });

  test('nothing escapes the type checker', () => {
    for (const { path, text } of sources) {
      assert.doesNotMatch(text, /\bas any\b|: any\b|<any>|@ts-(?:ignore|expect-error)|\w!(?:\.|;|\)|,|\[)/, path);
    }
  });
});

test('every link of a page leads to a file, and to a heading of it', () => {
  const anchorOf = (heading: string) => heading.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
  // In code a line that begins with '#' is a comment, and brackets are no link.
  const readPage = (path: string) => readFileSync(path, 'utf8').replaceAll(/^ *```.*?^ *```$/gms, '');
  const pages = globSync('**/*.md', { cwd: CHECKOUT, exclude: ['**/node_modules/**'] }).concat(globSync('.github/*.md', { cwd: CHECKOUT }));
  assert.ok(pages.length > 3);
  for (const page of pages.map((name) => join(CHECKOUT, name))) {
    for (const [, target = '', anchor] of readPage(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)) {
      const file = target === '' ? page : join(dirname(page), target);
      assert.ok(existsSync(file), `${page} links to ${target}, which is not there`);
      if (anchor === undefined) continue;
      const headings = [...readPage(file).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));
      assert.ok(headings.includes(anchor), `${page} links to ${target}#${anchor}, which is no heading there`);
    }
  }
});

describe('size', () => {
  test('the front page is one', () => {
    const lines = readFileSync(join(CHECKOUT, 'README.md'), 'utf8').trimEnd().split('\n');
    assert.ok(lines.length <= MAX_FRONT_PAGE_LINES, `README.md has ${lines.length} lines`);
  });

  test('files have one job, and lines fit', () => {
    for (const { path, text } of [...sources, ...pageSources]) {
      const lines = text.split('\n');
      assert.ok(lines.length <= MAX_FILE_LINES, `${path} has ${lines.length} lines`);
      lines.forEach((line, index) => assert.ok(line.length <= MAX_LINE_CHARACTERS, `${path}:${index + 1} has ${line.length} characters`));
    }
  });

  test('functions fit a screen', () => {
    for (const { path, text } of [...sources, ...pageSources]) {
      const lines = text.split('\n');
      lines.forEach((line, index) => {
        const [, indent] = /^( *)(?:export )?(?:async )?function\b/.exec(line) ?? [];
        if (indent === undefined) return;
        const length = lines.slice(index).findIndex((later) => later === `${indent}}`) + 1;
        assert.ok(length <= MAX_FUNCTION_LINES, `${path}:${index + 1} is a function of ${length} lines`);
      });
    }
  });
});
