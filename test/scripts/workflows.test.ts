/** What the hosting service runs may do no more than it must, and only what was looked at. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CHECKOUT } from '../support/server-process.ts';

const FOLDER = join(CHECKOUT, '.github/workflows');
const workflows = readdirSync(FOLDER).map((name) => ({ name, text: readFileSync(join(FOLDER, name), 'utf8') }));

describe('workflows', () => {
  test('use actions by full commit hash, with the version beside it', () => {
    const uses = workflows.flatMap(({ text }) => [...text.matchAll(/uses: *(.*)/g)].map(([, action = '']) => action));
    assert.ok(uses.length >= 8);
    for (const action of uses) assert.match(action, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test('begin without any permission, and each job takes what it needs', () => {
    for (const { name, text } of workflows) {
      assert.match(text, /^permissions: \{\}$/m, name);
      const jobs = text.slice(text.indexOf('\njobs:')).split(/^  (?=[a-z]+:$)/m).slice(1);
      assert.ok(jobs.length > 0, name);
      for (const job of jobs) {
        assert.match(job, /^    permissions:\n      contents: (?:read|write)$/m, name);
        assert.match(job, /^    timeout-minutes: \d+$/m, name);
      }
    }
  });

  test('let only the job that publishes write, and none keep the token of its checkout', () => {
    const writing = workflows.flatMap(({ name, text }) => [...text.matchAll(/^      ([a-z-]+): write$/gm)].map(([, what]) => `${name} ${what}`));
    assert.deepEqual(writing, ['release.yml contents', 'release.yml id-token', 'release.yml attestations']);
    for (const { name, text } of workflows) {
      assert.equal(text.match(/actions\/checkout@/g)?.length ?? 0, text.match(/persist-credentials: false/g)?.length ?? 0, name);
    }
  });

  test('run nothing that a pull request could write into them', () => {
    for (const { name, text } of workflows) {
      assert.doesNotMatch(text, /pull_request_target|github\.event\.|github\.head_ref/, name);
      for (const [, script = ''] of text.matchAll(/^ +(?:- )?run: (?:\|\n((?: {10,}.*\n)+)|.*)/gm)) assert.doesNotMatch(script, /\$\{\{/, name);
    }
  });
});
