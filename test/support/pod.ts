/** What a node does with a pod, without one: the same files, environment, user, flags and walls, around the built server. */
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Container } from './kubernetes.ts';
import { CHECKOUT, startServerProcess, type ServerProcess } from './server-process.ts';
import { temporaryFolder, type Scope } from './temporary.ts';

/** The user of the image, and of the manifests. */
export const USER = 65_532;
const run = promisify(execFile);
/** A change of user takes away what `--kill-child` has asked for, so it is asked for anew. */
const asUser = ['setpriv', '--pdeathsig=KILL', '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];

/**
 * Installs a seccomp filter (seccomp(2)) that lets everything through, as only a container engine has a real one, and becomes the
 * command after it. 38: PR_SET_NO_NEW_PRIVS; 22, 2: PR_SET_SECCOMP with a filter; 6, 0x7fff0000: BPF_RET, SECCOMP_RET_ALLOW.
 */
const SECCOMP = `
import ctypes, os, sys
program = ctypes.create_string_buffer(bytes.fromhex('0600 00 00 0000ff7f'))
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, ctypes.byref(Program(1, ctypes.addressof(program))), 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])`;
const IN_NAMESPACES = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

/** What starts a process of a pod: nothing but `root`, which has its volumes, can be written to. */
const walls = (root: string) => [
  ...IN_NAMESPACES, 'sh', '-c', 'mount --bind "$0" "$0" && mount -o remount,ro,bind / && exec "$@"', root, 'python3', '-c', SECCOMP, ...asUser,
];

/** Why pods cannot be run here, or false. */
export const noPods = spawnSync('env', [...walls(tmpdir()), 'true']).status !== 0 && 'only root may make namespaces here, with util-linux and python3';

/** The flags that the image gives Node.js. */
const imageFlags = () => {
  const image = readFileSync(join(CHECKOUT, 'Dockerfile'), 'utf8');
  return [...image.slice(image.indexOf('ENTRYPOINT')).matchAll(/"(--[^"]+)"/g)].map(([, flag = '']) => flag);
};

/** Puts files where a Secret is mounted, or others in their place, as the kubelet does: a folder of their own, and links that change at once. */
export function mountSecret(folder: string, files: Readonly<Record<string, string>>): void {
  const version = `..${process.hrtime.bigint()}`;
  mkdirSync(join(folder, version));
  chmodSync(join(folder, version), 0o755);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, version, name);
    writeFileSync(path, content);
    // defaultMode and fsGroup.
    chownSync(path, 0, USER);
    chmodSync(path, 0o440);
    const link = join(folder, name);
    if (!existsSync(link)) symlinkSync(join('..data', name), link);
  }
  symlinkSync(version, join(folder, '..data_new'));
  renameSync(join(folder, '..data_new'), join(folder, '..data'));
}

/** A folder for each volume, as `fsGroup` leaves it: of root and the user's group. Readable by all, but in a folder for root alone. */
export function mountVolumes(scope: Scope, { volumeMounts }: Container): { root: string; folders: Record<string, string> } {
  const root = temporaryFolder(scope);
  chmodSync(root, 0o711);
  const folders = Object.fromEntries(volumeMounts.map(({ name }) => [name, join(root, name)]));
  for (const folder of Object.values(folders)) {
    mkdirSync(folder);
    chownSync(folder, 0, USER);
    chmodSync(folder, 0o2775);
  }
  return { root, folders };
}

/** A text of a container, with the folders of its volumes in the place of what they are mounted at. */
export function withFolders(text: string, { volumeMounts }: Container, folders: Readonly<Record<string, string>>): string {
  return volumeMounts.reduce((replaced, { name, mountPath }) => replaced.replaceAll(mountPath, folders[name] ?? ''), text);
}

type Volumes = ReturnType<typeof mountVolumes>;

export interface Pod {
  readonly server: ServerProcess;
  /** Runs a command beside it, as `kubectl exec` does: as its user, where its first process is number 1. Rejects where it fails. */
  exec(command: string, ...args: string[]): Promise<unknown>;
}

const environmentOf = (container: Container, { folders }: Volumes) =>
  Object.fromEntries(container.env.map(({ name, value }) => [name, withFolders(value, container, folders)]));

/** Starts the service of a manifest, with `changes` to its environment, on free ports. */
export function startPod(scope: Scope, container: Container, volumes: Volumes, changes: Readonly<Record<string, string>> = {}): Pod {
  const server = startServerProcess(scope, {
    script: 'dist/server.js', nodeArguments: imageFlags(), env: { ...environmentOf(container, volumes), PRIVATE_PORT: '0', ...changes },
    wrapper: walls(volumes.root),
  });
  return {
    server,
    exec(command, ...args) {
      const outer = String(server.child.pid);
      const first = readFileSync(`/proc/${outer}/task/${outer}/children`, 'utf8').trim();
      return run('nsenter', ['--target', first, '--mount', '--pid', ...asUser, command, ...args]);
    },
  };
}

/** Runs the container of a Job until it ends, and returns its last line: `args` are those of its manifest, or what an operator has made of them. */
export function runJob(container: Container, volumes: Volumes, args: readonly string[]): Readonly<Record<string, unknown>> {
  const [, program = '', ...rest] = args;
  const [command = '', ...wrapper] = walls(volumes.root);
  const commandLine = [...wrapper, process.execPath, program.replace('/app', CHECKOUT), ...rest.map((argument) => withFolders(argument, container, volumes.folders))];
  const { stdout } = spawnSync(command, commandLine, { encoding: 'utf8', env: environmentOf(container, volumes) });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}
