import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';

const STDIN = 0;

/**
 * A function that tells whether the terminal that the process was started in has been closed since. SIGHUP means that then, and
 * otherwise what somebody has sent it for (tty(4): a terminal that hung up cannot be opened by those that it controlled).
 */
export function watchTerminal(): () => boolean {
  const hadTerminal = isatty(STDIN);
  return () => {
    if (!hadTerminal) return false;
    try {
      closeSync(openSync('/dev/tty', 'r'));
      return false;
    } catch {
      return true;
    }
  };
}
