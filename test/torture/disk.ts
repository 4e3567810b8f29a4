import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { sendMessage } from '../support/load.ts';
import { startServerProcess } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, createIds, exactly, startTarget, type Scenario } from './scenario.ts';
import { attachStrace } from './strace.ts';

const DISK_MEGABYTES = 4;

export const diskFull: Scenario = {
  name: `A full disk (tmpfs of ${DISK_MEGABYTES} MB)`,
  needs: ['mount', 'umount'],
  async run(scope) {
    const folder = temporaryFolder(scope);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MEGABYTES}m`, 'tmpfs', folder]).status !== 0) {
      return [{ what: 'mounting', measured: 'not allowed here', bound: '', holds: true }];
    }
    scope.after(() => void execFileSync('umount', ['--lazy', folder]));
    const { url, port } = await startTarget(scope, { env: { DATABASE_URL: join(folder, 'app.db') } });
    const filler = join(folder, 'filler');
    const { send, ready, close } = createClient(url, port);

    await send();
    fill(filler);
    await waitFor('503', async () => await send() === 503);
    await waitFor('not ready', async () => !await ready());
    const reads = (await fetch(`${url}/messages`)).status;
    const before = performance.now();
    rmSync(filler);
    await waitFor('an acknowledgement', async () => await send() === 200);
    const recovered = (performance.now() - before) / 1000;
    await waitFor('ready', ready);
    close();
    return [exactly('reads while it is full', reads, 200), atMost('until it accepts again', recovered, 5, ' s')];
  },
};

function fill(path: string): void {
  try {
    writeFileSync(path, Buffer.alloc(DISK_MEGABYTES * 1024 * 1024));
  } catch {
    // What fits has been written.
  }
}

export const failedSync: Scenario = {
  name: 'A sync that fails (injected by strace)',
  needs: ['strace'],
  async run(scope, progress) {
    const folder = temporaryFolder(scope);
    const env = { DATABASE_URL: join(folder, 'app.db') };
    const { server, url, port } = await startTarget(scope, { env });
    const { send, close } = createClient(url, port);
    await send();
    await attachStrace(scope, server.child.pid, ['-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:error=EIO']);
    const begin = performance.now();
    const statuses = await Promise.all(Array.from({ length: 50 }, send));
    const { code } = await server.ended;
    const seconds = (performance.now() - begin) / 1000;
    close();

    progress('starting again');
    const trace = join(folder, 'trace');
    const again = startServerProcess(scope, { script: 'dist/server.js', env, wrapper: ['strace', '-D', '-f', '-y', '-e', 'trace=fsync,fdatasync,listen', '-o', trace] });
    await again.line('listening');
    again.child.kill('SIGKILL');
    await again.ended;
    const calls = readFileSync(trace, 'utf8').split('\n');
    const listening = calls.findIndex((line) => line.includes(' listen('));
    const synced = calls.findIndex((line) => /f(?:data)?sync\(\d+<[^>]*app\.db>/.test(line));
    return [
      exactly('acknowledgements once a sync has failed', statuses.filter((status) => status === 200).length, 0),
      exactly('exit status', code ?? -1, 70),
      atMost('until the process has ended', seconds, 2, ' s'),
      exactly('the line in the log', server.lines.filter(({ event }) => event === 'storage_failed').map(({ reason }) => reason).join(),
        'a sync to disk failed'),
      exactly('the next start syncs the database before it listens', String(synced !== -1 && synced < listening), 'true'),
    ];
  },
};

function createClient(url: string, port: number) {
  const agent = new Agent({ keepAlive: true });
  const nextId = createIds('disk');
  return {
    send: async () => (await sendMessage(agent, port, nextId())).status,
    ready: async () => (await fetch(`${url}/health/ready`)).status === 200,
    close: () => agent.destroy(),
  };
}
