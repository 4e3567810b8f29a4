/**
 * Writes two CycloneDX 1.6 documents (https://cyclonedx.org/docs/1.6/json/) into a folder: what the product is made of at run time, and
 * what builds it. They hold no time and no random number, so that the same tree gives the same bytes.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CHECKOUT = join(import.meta.dirname, '..');

interface Component {
  readonly type: 'application' | 'library' | 'platform' | 'data';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly scope?: 'required' | 'optional';
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: 'SHA-512'; readonly content: string }[];
}

/** By `bom-ref`: what a component needs. */
type Dependencies = ReadonlyMap<string, readonly string[]>;

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly optional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function readJson<Value>(path: string): Value {
  return JSON.parse(readFileSync(join(CHECKOUT, path), 'utf8'));
}

const { name, version, license }: { name: string; version: string; license: string } = readJson('package.json');
const product: Component = {
  type: 'application', 'bom-ref': `${name}@${version}`, name, version, licenses: [{ expression: license }],
};

function documentOf(components: readonly Component[], needs: Dependencies): object {
  const byRef = (a: { ref: string }, b: { ref: string }) => (a.ref < b.ref ? -1 : 1);
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: product },
    components: components.toSorted((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1)),
    dependencies: [...needs].map(([ref, dependsOn]) => ({ ref, dependsOn: [...dependsOn].sort() })).sort(byRef),
  };
}

/** Numbers of interfaces, not of parts. */
const NO_PARTS = new Set(['node', 'modules', 'napi']);
const DATA = new Set(['cldr', 'tz', 'unicode']);

/** Node.js, and what it says is inside it. The product has no package. */
function describeProduct(): object {
  const node: Component = {
    type: 'platform', 'bom-ref': `node@${process.versions.node}`, name: 'node', version: process.versions.node,
    purl: `pkg:generic/node@${process.versions.node}`, scope: 'required',
  };
  const inside = Object.entries(process.versions).filter(([part]) => !NO_PARTS.has(part)).map(([part, partVersion = '']): Component => ({
    type: DATA.has(part) ? 'data' : 'library', 'bom-ref': `node/${part}@${partVersion}`, name: part, version: partVersion,
    purl: `pkg:generic/${part}@${encodeURIComponent(partVersion)}`, scope: 'required',
  }));
  return documentOf([node, ...inside], new Map([
    [product['bom-ref'], [node['bom-ref']]],
    [node['bom-ref'], inside.map((part) => part['bom-ref'])],
    ...inside.map((part): [string, string[]] => [part['bom-ref'], []]),
  ]));
}

const packageName = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
const purlOf = (packageNamed: string, packageVersion: string) => `pkg:npm/${packageNamed.replace('@', '%40')}@${packageVersion}`;

/** The locked packages of a folder, all of them for building or for development. */
function lockedIn(folder: string): { components: Component[]; needs: Map<string, string[]> } {
  const { packages } = readJson<{ packages: Record<string, Locked> }>(join(folder, 'package-lock.json'));
  const refs = new Map(Object.entries(packages).filter(([path]) => path !== '')
    .map(([path, locked]) => [packageName(path), purlOf(packageName(path), locked.version ?? '')]));
  const needsOf = ({ dependencies, devDependencies, optionalDependencies }: Locked) =>
    Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }).flatMap((needed) => refs.get(needed) ?? []);
  const components = Object.entries(packages).filter(([path]) => path !== '').map(([path, locked]): Component => {
    const purl = purlOf(packageName(path), locked.version ?? '');
    return {
      type: 'library', 'bom-ref': purl, name: packageName(path), version: locked.version ?? '', purl,
      scope: locked.optional === true ? 'optional' : 'required',
      ...(locked.license !== undefined && { licenses: [{ expression: locked.license }] }),
      ...(locked.integrity !== undefined && { hashes: [{ alg: 'SHA-512', content: hexOf(locked.integrity) }] }),
    };
  });
  const needs = Object.entries(packages).map(([path, locked]): [string, string[]] =>
    [path === '' ? product['bom-ref'] : purlOf(packageName(path), locked.version ?? ''), needsOf(locked)]);
  return { components, needs: new Map(needs) };
}

/** Of a subresource integrity value, `sha512-` and base64. */
const hexOf = (integrity: string) => Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');

/** The compiler, the types and what they pull in; the Node.js of development. */
function describeBuild(): object {
  const [build, runtime] = [lockedIn('.'), lockedIn('scripts/runtime')];
  const roots = [build, runtime].flatMap(({ needs }) => needs.get(product['bom-ref']) ?? []);
  return documentOf([...build.components, ...runtime.components], new Map([...build.needs, ...runtime.needs, [product['bom-ref'], roots]]));
}

const folder = process.argv[2];
if (folder === undefined) throw new Error('say into which folder: scripts/node scripts/sbom.ts FOLDER');
mkdirSync(folder, { recursive: true });
for (const [file, document] of [['product', describeProduct()], ['build', describeBuild()]] as const) {
  const path = join(folder, `${name}-${version}-${file}.cdx.json`);
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
  console.log(path);
}
