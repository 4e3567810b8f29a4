import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { sendMessage } from '../support/load.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { atLeast, createIds, exactly, startTarget, type Scenario } from './scenario.ts';
import { attachStrace } from './strace.ts';

const MESSAGES = 1000;

export const syncOrder: Scenario = {
  name: 'Order of sync and acknowledgement, under strace, one sender',
  needs: ['strace'],
  async run(scope, progress) {
    const folder = temporaryFolder(scope);
    const trace = join(folder, 'trace');
    const { server, port } = await startTarget(scope, { env: { DATABASE_URL: join(folder, 'app.db') } });
    const strace = await attachStrace(scope, server.child.pid, [
      '-y', '-s', '20', '-o', trace, '-e', 'trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg',
    ]);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const nextId = createIds('order');
    let acknowledged = 0;
    for (let sent = 0; sent < MESSAGES; sent += 1) {
      if ((await sendMessage(agent, port, nextId())).status === 200) acknowledged += 1;
    }
    agent.destroy();
    server.child.kill('SIGTERM');
    await server.ended;
    await strace.ended;
    progress('reading the trace');
    const { answers, early } = judge(readFileSync(trace, 'utf8'));
    return [
      atLeast('acknowledgements seen in the trace', answers, acknowledged),
      exactly('of them sent while a written page of the log was not synced', early, 0),
    ];
  },
};

/** Walks a trace: a page written to the log is unsynced until the end of a sync of that file. */
function judge(trace: string): { answers: number; early: number } {
  let unsynced = 0;
  const covered = new Map<string, number>();
  let answers = 0;
  let early = 0;
  for (const line of trace.split('\n')) {
    const thread = line.split(' ', 1)[0] ?? '';
    if (/pwrite64\(\d+<[^>]*app\.db-wal>/.test(line)) unsynced += 1;
    // A sync that is interrupted in the trace covers what was written when it began.
    if (/f(?:data)?sync\(\d+<[^>]*app\.db-wal>/.test(line)) covered.set(thread, unsynced);
    if (/f(?:data)?sync.* = 0$/.test(line) && covered.has(thread)) {
      unsynced -= covered.get(thread) ?? 0;
      covered.delete(thread);
    }
    if (/(?:write|writev|sendto|sendmsg)\(.*HTTP\/1\.1 200/.test(line)) {
      answers += 1;
      if (unsynced > 0) early += 1;
    }
  }
  return { answers, early };
}
