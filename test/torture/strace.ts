import { spawn } from 'node:child_process';
import type { Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

/** Attaches strace to all threads of a process. The result resolves when strace has ended, as it does with the process. */
export async function attachStrace(scope: Scope, pid: number | undefined, args: readonly string[]): Promise<{ ended: Promise<unknown> }> {
  const strace = spawn('strace', ['-f', ...args, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.on('data', (chunk) => { said += String(chunk); });
  const ended = new Promise((resolve) => strace.on('close', resolve));
  scope.after(async () => {
    strace.kill('SIGKILL');
    await ended;
  });
  await waitFor('strace to attach', () => said.includes('attached'));
  return { ended };
}
