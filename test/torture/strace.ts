import { spawn } from 'node:child_process';
import type { Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

export interface Strace {
  /** Resolves when strace has ended, as it does with the process. */
  readonly ended: Promise<unknown>;
  /** Lets go of the process, which goes on without it. */
  detach(): Promise<void>;
}

/** Attaches strace to all threads of a process. */
export async function attachStrace(scope: Scope, pid: number | undefined, args: readonly string[]): Promise<Strace> {
  const strace = spawn('strace', ['-f', ...args, '-p', String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  strace.stderr.on('data', (chunk) => { said += String(chunk); });
  const ended = new Promise((resolve) => strace.on('close', resolve));
  scope.after(async () => {
    strace.kill('SIGKILL');
    await ended;
  });
  await waitFor('strace to attach', () => said.includes('attached'));
  return {
    ended,
    async detach() {
      strace.kill('SIGTERM');
      await ended;
    },
  };
}
