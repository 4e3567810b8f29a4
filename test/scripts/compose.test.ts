/** The compose files: no engine runs them here, so this holds what they say against the service, and against what containers may do. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { knownVariables } from '../support/known-variables.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { hasYaml, NO_YAML, readYaml } from '../support/yaml.ts';

interface Service {
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly ports?: readonly string[];
  readonly image?: string;
  readonly volumes?: readonly string[];
}

const files = ['docker-compose.yml', 'scripts/postgres/docker-compose.yml'].map((name) => ({ name, text: readFileSync(join(CHECKOUT, name), 'utf8') }));
function servicesOf(text: string): [string, Service][] {
  const [file] = readYaml<{ services: Record<string, Service> }>(text);
  return Object.entries(file?.services ?? {});
}

describe('the compose files', () => {
  test('set variables that the service reads', () => {
    const asked = knownVariables();
    for (const { name, text } of files) {
      const set = [...text.matchAll(/^ +([A-Z][A-Z_]+):/gm)].map(([, variable = '']) => variable).filter((variable) => !variable.startsWith('POSTGRES_'));
      assert.ok(set.length >= 5, name);
      for (const variable of set) assert.ok(asked.has(variable), `${name}: ${variable}`);
    }
  });

  test('give every service its walls, and reach out to this host alone', { skip: !hasYaml && NO_YAML }, () => {
    for (const { name, text } of files) {
      for (const [service, { read_only, cap_drop, security_opt, ports = [], image, volumes = [] }] of servicesOf(text)) {
        const where = `${name}: ${service}`;
        assert.deepEqual({ read_only, cap_drop, security_opt }, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] }, where);
        for (const port of ports) assert.match(port, /^(?:127\.0\.0\.1|\$\{WEBHOOK_INBOX_BIND:-127\.0\.0\.1\}):/, where);
        if (image !== undefined) assert.match(image, /^webhook-inbox$|:\d+\.\d+/, where);
        for (const volume of volumes.filter((one) => one.startsWith('./') && service !== 'credentials')) assert.match(volume, /:ro$/, where);
      }
    }
  });
});
