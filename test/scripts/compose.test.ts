/** The compose files: no engine runs them here, so this holds what they say against the service, and against what containers may do. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readConfig } from '../../src/config/config.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { CHECKOUT } from '../support/server-process.ts';

interface Service {
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly ports?: readonly string[];
  readonly image?: string;
  readonly volumes?: readonly string[];
}

const files = ['docker-compose.yml', 'scripts/postgres/docker-compose.yml'].map((name) => ({ name, text: readFileSync(join(CHECKOUT, name), 'utf8') }));
const hasYaml = spawnSync('python3', ['-c', 'import yaml']).status === 0;

/** As Python's YAML reader has it. */
function servicesOf(text: string): [string, Service][] {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)'],
    { input: text, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const { services }: { services: Record<string, Service> } = JSON.parse(stdout);
  return Object.entries(services);
}

describe('the compose files', () => {
  test('set variables that the service reads', () => {
    const asked = new Set<string>();
    const recording = new Proxy<NodeJS.ProcessEnv>({}, {
      get(_variables, name) {
        asked.add(String(name));
        return undefined;
      },
    });
    readEnvironment(recording, readConfig);
    for (const { name, text } of files) {
      const set = [...text.matchAll(/^ +([A-Z][A-Z_]+):/gm)].map(([, variable = '']) => variable).filter((variable) => !variable.startsWith('POSTGRES_'));
      assert.ok(set.length >= 5, name);
      for (const variable of set) assert.ok(asked.has(variable), `${name}: ${variable}`);
    }
  });

  test('give every service its walls, and reach out to this host alone', { skip: !hasYaml && "Python's yaml is not installed here" }, () => {
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
