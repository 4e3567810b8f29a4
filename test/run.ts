/**
 * `make test`: runs the given test files, or all. However the run ends, whatever it has started ends with it, as the run leads a
 * group of processes, and so do its temporary files.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'webhook-inbox-tests-'));
// Some tests run the service as another user.
chmodSync(folder, 0o711);
const run = spawn(process.execPath, [join(import.meta.dirname, 'support/run-files.ts'), ...process.argv.slice(2)], {
  detached: true, stdio: 'inherit', env: { ...process.env, TMPDIR: folder },
});

function endGroup(): void {
  try {
    if (run.pid !== undefined) process.kill(-run.pid, 'SIGKILL');
  } catch {
    // Nobody is left in it.
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, endGroup);
run.on('exit', (code) => {
  endGroup();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.exitCode = code ?? 1;
});
