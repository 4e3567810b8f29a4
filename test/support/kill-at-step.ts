/**
 * Preloaded into a program: kills it as the system would, right before the change to files of the number KILL_AT_STEP, where its script is
 * KILL_SCRIPT. So each state in which a kill can leave the files is seen.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { KILL_AT_STEP = '', KILL_SCRIPT = '' } = process.env;
const CHANGES = ['copyFileSync', 'renameSync', 'rmSync', 'linkSync', 'chownSync', 'fsyncSync'] as const;

if (process.argv[1]?.endsWith(KILL_SCRIPT)) {
  let step = 0;
  for (const name of CHANGES) {
    const original: (...args: never[]) => unknown = fs[name];
    Object.assign(fs, {
      [name](...args: never[]) {
        const changesNothing = name === 'rmSync' && !fs.existsSync(String(args[0]));
        if (!changesNothing && step === Number(KILL_AT_STEP)) process.kill(process.pid, 'SIGKILL');
        if (!changesNothing) step += 1;
        return original(...args);
      },
    });
  }
  syncBuiltinESMExports();
}
