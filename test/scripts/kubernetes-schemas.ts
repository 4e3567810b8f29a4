/**
 * Kubernetes' published schemas (its OpenAPI document, one JSON schema a kind), as the folder that KUBERNETES_SCHEMAS names has them:
 * `.ci/run` fetches it.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Manifest } from '../support/kubernetes.ts';

/** Those of its keywords that say what is valid. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
}
const JUDGED = new Set(['$ref', 'type', 'enum', 'properties', 'additionalProperties', 'required', 'items', 'oneOf']);
/** These say nothing of what is valid; `format` is the width of numbers here. */
const PASSED_OVER = /^(?:\$schema|\$id|description|format|x-kubernetes-.*)$/;

/** Every version that the folder has, oldest first, such as 1.37. Empty without the folder. */
const folders = new Map(globSync(join(process.env['KUBERNETES_SCHEMAS'] ?? '/nowhere', '**/v1.*-local-strict'))
  .map((folder): [string, string] => [/^v(\d+\.\d+)/.exec(basename(folder))?.[1] ?? '', folder])
  .toSorted(([one], [other]) => one.localeCompare(other, 'en', { numeric: true })));
export const VERSIONS: readonly string[] = [...folders.keys()];

/** Every fault of a manifest in a version; an unknown field is one. */
export function faultsOf(manifest: Manifest, version: string): string[] {
  const folder = folders.get(version) ?? '';
  const read = (name: string) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  const { $defs }: { $defs: Record<string, Schema> } = read('_definitions');
  // rbac.authorization.k8s.io/v1 is rbac-v1 there.
  const group = manifest.apiVersion.replace(/^([^./]*)(?:\.[^/]*)?\//, '$1-');
  const schema: Schema = read(`${manifest.kind.toLowerCase()}-${group}`);
  return [...judge(manifest, schema, $defs, manifest.kind)];
}

function* judge(value: unknown, schema: Schema, definitions: Record<string, Schema>, place: string): Generator<string> {
  for (const keyword of Object.keys(schema)) assert.ok(JUDGED.has(keyword) || PASSED_OVER.test(keyword), `nobody judges ${keyword}`);
  const { $ref, oneOf, items, required = [] } = schema;
  if ($ref !== undefined) {
    const referred = definitions[$ref.split('/').at(-1) ?? ''];
    assert.ok(referred, $ref);
    yield* judge(value, referred, definitions, place);
  }
  if (oneOf?.every((one) => [...judge(value, one, definitions, place)].length > 0) === true) yield `${place} is of no form that is known`;
  if (schema.enum?.includes(value) === false) yield `${place} is none of ${JSON.stringify(schema.enum)}`;
  const types = [schema.type ?? []].flat();
  if (types.length > 0 && !types.some((type) => isOf(type, value))) yield `${place} is no ${types.join(' or ')}`;
  if (Array.isArray(value) && items) for (const [index, item] of value.entries()) yield* judge(item, items, definitions, `${place}[${index}]`);
  if (!isObject(value)) return;
  for (const name of required) if (!(name in value)) yield `${place} has no ${name}`;
  for (const [name, inner] of Object.entries(value)) {
    const own = schema.properties?.[name] ?? schema.additionalProperties;
    if (own === false) yield `${place}.${name} is unknown`;
    else if (typeof own === 'object') yield* judge(inner, own, definitions, `${place}.${name}`);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function isOf(type: string, value: unknown): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}
