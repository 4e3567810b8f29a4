/**
 * What the process finds of the walls around it: a check for drift, such as a container that lost its settings. It protects nothing
 * itself, and believes what the system says.
 */
import { readFileSync } from 'node:fs';

/** What is known of the process. Null where the system does not tell, as without Linux's /proc. */
export interface Hardening {
  readonly uid: number | null;
  /** The set of effective capabilities (capabilities(7)), as 16 hex digits. */
  readonly effectiveCapabilities: string | null;
  readonly noNewPrivileges: boolean | null;
  readonly seccomp: 'disabled' | 'strict' | 'filter' | null;
  readonly rootReadOnly: boolean | null;
  /** NODE_OPTIONS, which can undo flags. */
  readonly nodeOptions: string | null;
  /** The flags of Node.js on the command line. */
  readonly flags: readonly string[];
}

/** Each takes away something that the service never uses and an attacker could. The image's command and `npm start` have them. */
export const NODE_FLAGS = ['--disable-proto=throw', '--disallow-code-generation-from-strings', '--no-addons', '--disable-sigusr1'];

const SECCOMP_MODES = ['disabled', 'strict', 'filter'] as const;

/** Reads /proc/self/status and /proc/self/mountinfo (proc(5)). Throws nothing. */
export function readHardening(): Hardening {
  return {
    uid: process.getuid?.() ?? null,
    ...parseProc(readText('/proc/self/status'), readText('/proc/self/mountinfo')),
    nodeOptions: process.env['NODE_OPTIONS'] ?? null,
    flags: process.execArgv,
  };
}

/** What these two files say. */
export function parseProc(
  status: string, mountinfo: string,
): Pick<Hardening, 'effectiveCapabilities' | 'noNewPrivileges' | 'seccomp' | 'rootReadOnly'> {
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(status)?.[1] ?? null;
  const noNewPrivileges = field('NoNewPrivs');
  const options = mountinfo.split('\n').map((line) => line.split(' ')).findLast(([, , , , mountPoint]) => mountPoint === '/')?.[5];
  return {
    effectiveCapabilities: field('CapEff'),
    noNewPrivileges: noNewPrivileges === null ? null : noNewPrivileges === '1',
    seccomp: SECCOMP_MODES[Number(field('Seccomp') ?? NaN)] ?? null,
    rootReadOnly: options === undefined ? null : options.split(',').includes('ro'),
  };
}

/** Each wall that is missing or cannot be seen, with what to set for it. */
export function missingHardening(found: Hardening): string[] {
  const walls: readonly [stands: boolean, problem: string][] = [
    [found.uid !== null && found.uid !== 0, 'the user is root or not known: run as another, such as 65532'],
    [/^0+$/.test(found.effectiveCapabilities ?? ''), 'there are capabilities: drop all of them'],
    [found.noNewPrivileges === true, 'new privileges can be gained: set no-new-privileges'],
    [found.seccomp === 'filter', 'no seccomp filter is in force: use the container engine\'s default one'],
    [found.rootReadOnly === true, 'the root file system can be written: mount it read-only'],
    [found.nodeOptions === null, 'NODE_OPTIONS is set: unset it, as it can undo flags'],
    ...NODE_FLAGS.map((flag): [boolean, string] => [found.flags.includes(flag), `Node.js runs without ${flag}`]),
  ];
  return walls.filter(([stands]) => !stands).map(([, problem]) => problem);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
