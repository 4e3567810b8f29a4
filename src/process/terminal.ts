import { closeSync, openSync } from 'node:fs';

/**
 * A function that tells whether the terminal that controls the process has been closed since. SIGHUP means that then, and otherwise
 * what somebody has sent it for (tty(4): a terminal that hung up cannot be opened by those that it controlled).
 */
export function watchTerminal(): () => boolean {
  const hadTerminal = canOpenTerminal();
  return () => hadTerminal && !canOpenTerminal();
}

function canOpenTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
