import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/** False where Python's YAML reader is not installed: `{ skip: !hasYaml && NO_YAML }`. */
export const hasYaml = spawnSync('python3', ['-c', 'import yaml']).status === 0;
export const NO_YAML = "Python's yaml (Debian's python3-yaml) is not installed here";

/** Every document of a text, as Python's YAML reader has it; that they are of this form is for the caller to know. */
export function readYaml<Document>(text: string): Document[] {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)'],
    { input: text, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}
