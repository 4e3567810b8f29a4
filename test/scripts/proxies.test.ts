/** The proxies of `scripts/proxies/`, each with its file as shipped but for what an operator edits, in front of the service. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { hasOpenssl, makeCertificate, type Certificate } from '../support/certificates.ts';
import { readEvents } from '../support/event-stream.ts';
import { freePort } from '../support/free-port.ts';
import { message, sign } from '../support/messages.ts';
import { ask } from '../support/request.ts';
import { CHECKOUT, startServerProcess } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

interface Place {
  readonly folder: string;
  readonly certificate: Certificate;
  readonly port: number;
}

interface Proxy {
  readonly program: string;
  readonly version: string;
  readonly file: string;
  /** The shipped file with the name, the certificate and the port of a test. */
  edit(text: string, place: Place): string;
  /** The arguments with which it runs such a file in the foreground. */
  run(file: string, place: Place): readonly string[];
}

const withCertificate = (text: string, { certificate, key }: Certificate) =>
  text.replace('/etc/ssl/inbox.example.pem', certificate).replace('/etc/ssl/inbox.example.key', key);

/** The file around a site of nginx: one process, and all that it writes below a folder. */
const aroundSite = (site: string, folder: string) => `daemon off; master_process off; pid ${folder}/pid; events {} http { access_log off; ${
  ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')} include ${site}; }`;

const PROXIES: readonly Proxy[] = [{
  program: 'nginx', version: '-v', file: 'nginx.conf',
  edit: (text, { folder, certificate, port }) => withCertificate(text, certificate).replaceAll('/var/log/nginx', folder)
    .replace('listen 443', `listen 127.0.0.1:${port}`).replace('inbox.example', 'localhost'),
  run(file, { folder }) {
    writeFileSync(join(folder, 'around.conf'), aroundSite(file, folder));
    return ['-e', 'stderr', '-p', folder, '-c', join(folder, 'around.conf')];
  },
}, {
  program: 'caddy', version: 'version', file: 'Caddyfile',
  // It would listen on port 80 too, on another one for its administration, and on every address.
  edit: (text, { certificate, port }) => withCertificate(text, certificate)
    .replace('{\n', '{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n').replace('inbox.example {', `localhost:${port} {`),
  run: (file) => ['run', '--adapter', 'caddyfile', '--config', file],
}, {
  program: 'haproxy', version: '-v', file: 'haproxy.cfg',
  edit(text, { folder, certificate, port }) {
    const both = join(folder, 'both.pem');
    writeFileSync(both, [certificate.certificate, certificate.key].map((path) => readFileSync(path, 'utf8')).join(''));
    return text.replace('/etc/ssl/inbox.example.pem', both).replace('bind :443', `bind 127.0.0.1:${port}`);
  },
  run: (file) => ['-db', '-f', file],
}];

const READ_TOKEN = 'a-token-for-readers-behind-a-proxy';
const asReader = { Authorization: `Bearer ${READ_TOKEN}` };

/** Starts a proxy with what `change` makes of its file, and waits until it lets something through. */
async function startProxy(scope: Scope, proxy: Proxy, change: (text: string) => string) {
  const folder = temporaryFolder(scope);
  // nginx keeps a large body in a file, as another user where it was started by root.
  chmodSync(folder, 0o755);
  const certificate = makeCertificate(folder, 'localhost');
  const place = { folder, certificate, port: await freePort() };
  const file = join(folder, proxy.file);
  const shipped = readFileSync(join(CHECKOUT, 'scripts/proxies', proxy.file), 'utf8');
  writeFileSync(file, change(proxy.edit(shipped, place)).replace('127.0.0.1:8000', `127.0.0.1:${publicPort}`).replace('127.0.0.1:8001', `127.0.0.1:${privatePort}`));
  const home = join(folder, 'home');
  mkdirSync(home);
  const child = spawn(proxy.program, proxy.run(file, place), { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] ?? '', HOME: home } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { output += String(chunk); });
  const ended = new Promise((resolve) => child.on('close', resolve));
  scope.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const url = `https://localhost:${place.port}`;
  const tls = { ca: readFileSync(certificate.certificate) };
  await waitFor(() => `${proxy.program}: ${output}`, async () => {
    assert.equal(child.exitCode, null, output);
    return await ask(url, { tls }).catch(() => undefined);
  });
  const logs = () => readdirSync(folder).filter((name) => name.endsWith('.log')).map((name) => readFileSync(join(folder, name), 'utf8'));
  return { url, tls, written: () => [output, ...logs()].join('\n') };
}

const server = startServerProcess({ after }, { env: { DATABASE_URL: join(temporaryFolder({ after }), 'app.db'), PRIVATE_PORT: '0', READ_TOKEN } });
const { port: publicPort, private_port: privatePort } = await server.line('listening');

let sent = 0;
async function send(at: string, tls: object, text = 'Hello') {
  sent += 1;
  const message_id = `m${sent}`;
  const body = JSON.stringify(message({ message_id, text }));
  const { status } = await ask(`${at}webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) }, tls });
  return { status, message_id };
}

/** Everything that people and programs do, at the address of the page. */
async function useAt(scope: Scope, at: string, tls: object): Promise<void> {
  assert.equal((await send(at, tls)).status, 200);
  assert.equal((await send(at, tls, '\u{1F600}'.repeat(4096))).status, 200);
  assert.equal((await ask(`${at}webhook`, { method: 'POST', body: '{}', tls })).status, 401);
  assert.equal((await ask(`${at}messages`, { tls })).status, 401);

  const page = await ask(at, { tls });
  const files = [...page.body.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, path = '']) => path);
  assert.ok(files.length >= 3);
  for (const path of files) assert.equal((await ask(new URL(path, at).href, { tls })).status, 200, path);

  const first = await ask(`${at}messages?q=%F0%9F%98%80&from=%2B919876543210&limit=1&order=newest`, { headers: asReader, tls });
  const [, next = ''] = /^<([^>]+)>; rel="next"/.exec(String((await ask(`${at}messages?limit=1`, { headers: asReader, tls })).headers['link'])) ?? [];
  assert.equal(JSON.parse(first.body).items.length, 1);
  assert.equal((await ask(new URL(next, `${at}messages`).href, { headers: asReader, tls })).status, 200);

  const stream = await readEvents(scope, `${at}messages/stream`, asReader, tls);
  const { message_id } = await send(at, tls);
  // It has come, and nothing has ended the connection yet.
  await stream.has(1);
  assert.deepEqual([stream.ids(), stream.isEnded()], [[message_id], false]);
  stream.close();
}

for (const proxy of PROXIES) {
  const isHere = spawnSync(proxy.program, [proxy.version]).status === 0;
  describe(proxy.program, { skip: !(isHere && hasOpenssl) && `${proxy.program} or openssl is not installed here` }, () => {
    test('below a path: a message, the page and its files, the next page, an event at once', async (t) => {
      const { url, tls } = await startProxy(t, proxy, (text) => text);
      await useAt(t, `${url}/inbox/`, tls);
      const { status, headers } = await ask(`${url}/inbox`, { tls });
      assert.ok(status === 301 || status === 308);
      assert.equal(new URL(String(headers['location']), url).pathname, '/inbox/');
    });

    test('the same at the top of a site', async (t) => {
      const { url, tls } = await startProxy(t, proxy, (text) => text.replaceAll('/inbox/', '/'));
      await useAt(t, `${url}/`, tls);
    });

    test('writes nothing of a query to a log of its own, also where nobody answers', async (t) => {
      const { url, tls, written } = await startProxy(t, proxy, (text) => text.replace('127.0.0.1:8001', '127.0.0.1:1'));
      const statuses = await Promise.all(['messages', 'messages/stream', 'nothing'].map(async (path) =>
        (await ask(`${url}/inbox/${path}?from=%2B49marker&q=marker`, { headers: asReader, tls })).status));
      assert.ok(statuses.every((status) => status >= 502), statuses.join());
      if (proxy.program === 'nginx') await waitFor('its log', () => written().includes('GET /inbox/messages 502'));
      assert.equal(written().includes('marker'), false, written());
    });

    test('keeps from reading who is elsewhere, and takes his messages', async (t) => {
      const { url, tls } = await startProxy(t, proxy, (text) => text.replace('127.0.0.0/8', '192.0.2.0/24'));
      assert.equal((await send(`${url}/inbox/`, tls)).status, 200);
      for (const path of ['', 'messages', 'webhook/../messages', '%2e/messages', 'metrics']) {
        const { status } = await ask(`${url}/inbox/${path}`, { headers: asReader, tls });
        assert.ok(status === 403 || status === 404, `${path}: ${status}`);
      }
    });
  });
}
