/**
 * Builds the shipped Dockerfile and runs what comes out of it as a container would be run, as far as a machine without a container
 * engine allows: `make test-container` (Debian, as root, with buildah). Every step is said; the first that fails ends it with status 1.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { message, sign } from '../support/messages.ts';
import { REFERENCE_SCHEMA } from '../support/reference-schema.ts';
import { ask } from '../support/request.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { waitFor } from '../support/wait.ts';
import { createRun, makeBuildRoot, makeRuntimeRoot } from './stand-ins.ts';

const USER = 65532;
const SECRET = 'a secret for this check only';
const PORT = '18099';
const PRIVATE_PORT = '18098';

for (const command of ['buildah', 'dpkg-deb', 'unshare', 'setpriv']) {
  if (spawnSync(command, ['--version']).error !== undefined) throw new Error(`${command} is needed: apt-get install buildah util-linux`);
}
if (process.getuid?.() !== 0) throw new Error('it has to be run as root, to change the user and what is mounted');

const folder = mkdtempSync(join(tmpdir(), 'webhook-inbox-container-'));
const run = createRun(folder);
const buildah = (...args: string[]) => run('buildah', '--storage-driver', 'vfs', '--root', join(folder, 'storage'), '--runroot', join(folder, 'run'), ...args).trim();
const step = (text: string) => console.log(`- ${text}`);

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Healthcheck: { readonly Test: readonly string[] };
  readonly WorkingDir: string;
}

function buildImage(): { root: string; config: ImageConfig } {
  for (const [name, root] of [['build', makeBuildRoot(folder)], ['runtime', makeRuntimeRoot(folder)]] as const) {
    const container = buildah('from', 'scratch');
    buildah('copy', '--quiet', container, root, '/');
    buildah('commit', '--quiet', '--rm', container, `localhost/${name}`);
    step(`stand-in ${name} image made of Debian's packages and Node.js ${process.versions.node}`);
  }
  buildah('bud', '--quiet', '--isolation', 'chroot', '--format', 'docker', '--pull-never', '--build-arg', 'BUILD_IMAGE=localhost/build', '--build-arg',
    'RUNTIME_IMAGE=localhost/runtime', '--tag', 'localhost/webhook-inbox', CHECKOUT);
  const { Docker }: { Docker: { config: ImageConfig } } = JSON.parse(buildah('inspect', '--type', 'image', 'localhost/webhook-inbox'));
  const root = buildah('mount', buildah('from', 'localhost/webhook-inbox'));
  step('the shipped Dockerfile is built');
  return { root, config: Docker.config };
}

const { root, config } = buildImage();
const data = join(folder, 'data');
const credentials = join(folder, 'credentials');

/** In namespaces of its own, on the image's root mounted read-only, without capabilities or the way to get any, as the image's user. */
function inContainer(command: readonly string[], environment: Record<string, string>): ChildProcess {
  const mounts = [
    `mount --bind ${root} ${root}`, `mount --bind ${data} ${root}/data`, `mount -t proc proc ${root}/proc`,
    `mount --bind ${credentials} ${root}/mnt`, `mount -o remount,ro,bind ${root}`,
  ].join(' && ');
  const enter = `setpriv --no-new-privs --inh-caps=-all unshare --root=${root} --wd=${config.WorkingDir} --setgid=${USER} --setuid=${USER} "$@"`;
  return spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', `${mounts} && exec ${enter}`, 'sh', ...command],
    { env: { PATH: process.env['PATH'], ...environment }, stdio: ['ignore', 'pipe', 'inherit'] });
}

async function startService(environment: Record<string, string>) {
  const child = inContainer(config.Entrypoint, { WEBHOOK_SECRET: SECRET, HOST: '127.0.0.1', PORT, ...environment });
  const lines: Record<string, unknown>[] = [];
  if (child.stdout) createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const line = (event: string) => waitFor(`the line ${event} in ${JSON.stringify(lines)}`, () => lines.find((found) => found['event'] === event));
  return {
    lines, line, ended,
    /** To the first process of the container, as an engine would. */
    stop() {
      const [, first = ''] = /(\d+)/.exec(spawnSync('pgrep', ['--parent', String(child.pid)], { encoding: 'utf8' }).stdout) ?? [];
      process.kill(Number(first), 'SIGTERM');
    },
  };
}

async function health(environment: Record<string, string>): Promise<number | null> {
  const [, ...command] = config.Healthcheck.Test;
  const child = inContainer(command, { WEBHOOK_SECRET: SECRET, HOST: '127.0.0.1', PORT, ...environment });
  return new Promise((resolve) => child.on('close', resolve));
}

async function post(url: string, message_id: string, tls = {}): Promise<number> {
  const body = JSON.stringify(message({ message_id }));
  return (await ask(`${url}/webhook`, { method: 'POST', headers: { 'X-Signature': sign(body, SECRET) }, body, tls })).status;
}

function checkContents(): void {
  assert.deepEqual(readdirSync(join(root, 'app')).toSorted(), ['dist', 'package.json']);
  const shipped = readdirSync(join(root, 'app/dist'), { recursive: true, encoding: 'utf8' });
  assert.ok(shipped.every((name) => /^[\w/.-]+\.(?:js|html|css|svg)$|^[\w/-]+$/.test(name)), shipped.join());
  assert.equal(config.User, `${USER}:${USER}`);
  step('it holds dist/ and package.json, and runs as a user that is not root');
}

function makeReferenceFile(): void {
  mkdirSync(data);
  const database = new DatabaseSync(join(data, 'app.db'));
  database.exec(`${REFERENCE_SCHEMA}; INSERT INTO messages(message_id, from_number, to_number, ts, text)
    VALUES ('old', '+919876543210', '+14155550100', '2024-01-15T10:00:00Z', 'of the reference program')`);
  database.close();
  for (const path of [data, join(data, 'app.db')]) chownSync(path, USER, USER);
}

async function checkPlain(): Promise<void> {
  const service = await startService({});
  await service.line('listening');
  const { uid, effective_capabilities, no_new_privileges, root_read_only, flags } = await service.line('started');
  assert.deepEqual({ uid, effective_capabilities, no_new_privileges, root_read_only },
    { uid: USER, effective_capabilities: '0000000000000000', no_new_privileges: true, root_read_only: true });
  assert.deepEqual(flags, config.Entrypoint.slice(1, -1));
  step('it finds its user, no capabilities, no new privileges, a read-only root, and its flags');
  const url = `http://127.0.0.1:${PORT}`;
  assert.equal(await post(url, 'new'), 200);
  const { body } = await ask(`${url}/messages`);
  assert.deepEqual(JSON.parse(body).items.map((item: { message_id: string }) => item.message_id), ['old', 'new']);
  step('the file of the reference program is upgraded, and a message is stored beside its own');
  assert.equal((await ask(`${url}/`)).status, 200);
  assert.equal(await health({}), 0);
  assert.equal(await health({ PORT: '18097' }), 1);
  step('the health check passes, and fails where nobody listens');
  service.stop();
  assert.equal(await service.ended, 0);
  step('SIGTERM to the first process ends it with status 0');
}

async function checkPrivateAndTls(): Promise<void> {
  const { certificate, key } = makeCertificate(credentials, 'server');
  writeFileSync(join(credentials, 'secret'), `${SECRET}\n`);
  for (const path of [certificate, key, join(credentials, 'secret')]) chownSync(path, USER, USER);
  const files = { TLS_CERT_FILE: '/mnt/server.pem', TLS_KEY_FILE: '/mnt/server.key' };
  for (const [mode, environment] of [
    ['with a private port', { PRIVATE_PORT }], ['with TLS', files], ['with client certificates', { ...files, TLS_CLIENT_CA_FILE: '/mnt/server.pem' }],
    ['with all of it', { ...files, TLS_CLIENT_CA_FILE: '/mnt/server.pem', PRIVATE_PORT, READ_TOKEN: 'a-token-for-readers' }],
  ] as const) {
    const service = await startService(environment);
    await service.line('listening');
    assert.equal(await health(environment), 0, mode);
    service.stop();
    assert.equal(await service.ended, 0);
    step(`the health check passes ${mode}`);
  }
}

async function checkRefusal(): Promise<void> {
  const service = await startService({ REQUIRE_HARDENED: 'container' });
  assert.equal(await service.ended, 1);
  const { problems } = await service.line('start_refused');
  // No seccomp filter: only a container engine sets one.
  assert.deepEqual(problems, ["REQUIRE_HARDENED: no seccomp filter is in force: use the container engine's default one"]);
  step('REQUIRE_HARDENED=container refuses for the one wall that is missing here, the seccomp filter of an engine');
}

try {
  checkContents();
  makeReferenceFile();
  mkdirSync(credentials, { mode: 0o755 });
  await checkPlain();
  if (hasOpenssl) await checkPrivateAndTls();
  await checkRefusal();
  console.log('the container is as it should be, as far as it can be seen here');
} finally {
  buildah('umount', '--all');
  rmSync(folder, { recursive: true, force: true });
}
