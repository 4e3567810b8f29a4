/** The rules of this code base that a machine can hold: what it depends on, which way imports point, how long things are. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { CHECKOUT } from './support/server-process.ts';

const SOURCE = join(CHECKOUT, 'src');
const MAX_LINE_CHARACTERS = 140;
const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 60;

/**
 * From the top down: a file may import from its own layer and from those below, never from one above. Named by the first
 * folder under src/, or by the file where it has none.
 */
const LAYERS = [
  ['server.ts', 'healthcheck.ts'], ['main.ts'], ['app.ts'], ['handlers.ts', 'ports.ts', 'routes.ts'],
  ['webhook', 'query', 'stream', 'operations', 'dashboard'], ['http', 'storage'],
  ['config', 'observe'], ['message.ts', 'errors.ts', 'line-ends.ts', 'signals.ts', 'terminal.ts', 'version.ts'],
];

const layerOf = (path: string) => LAYERS.findIndex((layer) => layer.includes(relative(SOURCE, path).split('/')[0] ?? ''));

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
  test('every file has its layer, and no import points up', () => {
    for (const { path, imports } of sources) {
      assert.notEqual(layerOf(path), -1, `${path} is in no layer`);
      for (const specifier of imports.filter((found) => found.startsWith('.'))) {
        const target = join(dirname(path), specifier);
        assert.ok(layerOf(target) >= layerOf(path), `${relative(SOURCE, path)} imports ${relative(SOURCE, target)}, which is above it`);
      }
    }
  });

  test('what the layers above may not know, they do not import', () => {
    for (const { path, imports, text } of sources) {
      const place = relative(SOURCE, path);
      if (!place.startsWith('storage/sqlite/')) assert.ok(!imports.includes('node:sqlite'), place);
      if (place !== 'app.ts' && !place.startsWith('storage/')) assert.ok(!text.includes('/sqlite/'), place);
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

describe('size', () => {
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
