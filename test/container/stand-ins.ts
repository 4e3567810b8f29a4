/**
 * Stand-ins for the two base images, where no registry of images can be reached: Debian's packages, unpacked, with the Node.js of
 * development. What is checked with them is the Dockerfile and what it ships, not the real base images.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What Node.js is linked to. */
const RUNTIME_PACKAGES = ['base-files', 'libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'];
/** A shell, and what `npm ci && npm run build && mkdir && chmod` run. */
const BUILD_PACKAGES = [...RUNTIME_PACKAGES, 'dash', 'coreutils', 'libacl1', 'libattr1', 'libgmp10', 'libselinux1', 'libpcre2-8-0', 'sed'];
const NPM_VERSION = '11';
const CA_BUNDLE = '/etc/ssl/certs/ca-certificates.crt';

export type Run = (command: string, ...args: string[]) => string;

export function createRun(cwd: string): Run {
  return (command, ...args) => execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 26 });
}

/** Unpacks packages of this machine's Debian below `root`; `work` is a folder for what is downloaded. */
function unpack(packages: readonly string[], root: string, work: string): void {
  mkdirSync(work, { recursive: true });
  mkdirSync(root, { recursive: true });
  const run = createRun(work);
  run('apt-get', 'download', '--quiet', '--quiet', '--option', 'APT::Sandbox::User=root', ...packages);
  for (const name of readdirSync(work).filter((file) => file.endsWith('.deb'))) run('dpkg-deb', '--extract', name, root);
}

function install(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

/** The root of a runtime image as the Dockerfile wants it: Node.js at /nodejs/bin/node, and no shell. */
export function makeRuntimeRoot(folder: string): string {
  const root = join(folder, 'runtime');
  unpack(RUNTIME_PACKAGES, root, join(folder, 'runtime-packages'));
  install(process.execPath, join(root, 'nodejs/bin/node'));
  for (const mountPoint of ['proc', 'mnt']) mkdirSync(join(root, mountPoint), { recursive: true });
  return root;
}

/** The root of a build image: Node.js, npm and a shell; packages come from where this machine gets them. */
export function makeBuildRoot(folder: string): string {
  const root = join(folder, 'build');
  unpack(BUILD_PACKAGES, root, join(folder, 'build-packages'));
  install(process.execPath, join(root, 'usr/local/bin/node'));
  const run = createRun(folder);
  const tarball = run('npm', 'pack', '--silent', `npm@${NPM_VERSION}`).trim();
  const npm = join(root, 'usr/local/lib/node_modules/npm');
  mkdirSync(npm, { recursive: true });
  run('tar', '--extract', '--file', tarball, '--strip-components=1', '--directory', npm);
  writeFileSync(join(root, 'usr/local/bin/npm'), '#!/bin/sh\nexec /usr/local/bin/node /usr/local/lib/node_modules/npm/bin/npm-cli.js "$@"\n', { mode: 0o755 });
  if (existsSync(CA_BUNDLE)) install(CA_BUNDLE, join(root, CA_BUNDLE.slice(1)));
  mkdirSync(join(root, 'usr/local/etc'), { recursive: true });
  writeFileSync(join(root, 'usr/local/etc/npmrc'), `registry=${run('npm', 'config', 'get', 'registry').trim()}\nupdate-notifier=false\n${existsSync(CA_BUNDLE) ? `cafile=${CA_BUNDLE}\n` : ''}`);
  return root;
}
