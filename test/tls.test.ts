/** TLS on the public port: handshakes over real sockets, with certificates made for the test. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { connect, createServer, type ConnectionOptions } from 'node:tls';
import { clientCertificateFault } from '../src/http/tls.ts';
import { startTestApp, type TestApp } from './support/app.ts';
import { type Certificate, hasOpenssl, issueCertificate, makeCertificate } from './support/certificates.ts';
import { message, sign } from './support/messages.ts';
import { exchangeRaw } from './support/raw-http.ts';
import { ask, type Answer } from './support/request.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

const skip = hasOpenssl ? false : 'openssl is not installed here';

/** The service with TLS and a private port, and what a client needs. The files in use may be replaced before a reload. */
async function startSecure(t: TestContext, environment: Record<string, string> = {}, withClientCa = false) {
  const folder = temporaryFolder(t);
  const server = makeCertificate(folder, 'server');
  const ca = makeCertificate(folder, 'ca');
  const inUse = { certificate: join(folder, 'in-use.pem'), key: join(folder, 'in-use.key'), ca: join(folder, 'in-use-ca.pem') };
  const use = ({ certificate, key }: Certificate, clientCa: Certificate = ca) => {
    copyFileSync(certificate, inUse.certificate);
    copyFileSync(key, inUse.key);
    copyFileSync(clientCa.certificate, inUse.ca);
  };
  use(server);
  const app = await startTestApp(t, {
    PRIVATE_PORT: '0', TLS_CERT_FILE: inUse.certificate, TLS_KEY_FILE: inUse.key, ...(withClientCa && { TLS_CLIENT_CA_FILE: inUse.ca }), ...environment,
  });
  return { app, folder, server, ca, inUse, use, trusted: { ca: readFileSync(server.certificate) } };
}

function post(app: TestApp, tls: ConnectionOptions, message_id: string, agent?: Agent): Promise<Answer> {
  const body = JSON.stringify(message({ message_id }));
  return ask(`${app.url}/webhook`, { method: 'POST', headers: { 'X-Signature': sign(body) }, body, tls, ...(agent && { agent }) });
}

const shown = ({ certificate, key }: Certificate) => ({ cert: readFileSync(certificate), key: readFileSync(key) });

describe('TLS', { skip }, () => {
  test('is spoken on the public port, by 1.2 and 1.3 and nothing older', async (t) => {
    const { app, trusted } = await startSecure(t);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const answer = await post(app, { ...trusted, minVersion: version, maxVersion: version }, version);
      assert.deepEqual([answer.status, answer.body], [200, '{"status":"ok"}']);
    }
    const old = { ...trusted, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await assert.rejects(post(app, old, 'old'), /alert protocol version/);
    assert.match((await ask(`${app.privateUrl}/messages`)).body, /"total":2/);
    await waitFor('their connections to be gone', async () => (await app.metric('http_connections_open') ?? 9) <= 2);
  });

  test('is trusted only by those who trust its certificate', async (t) => {
    const { app } = await startSecure(t);
    await assert.rejects(post(app, {}, 'untrusting'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
  });

  test('ends a connection that speaks plain HTTP or nothing, and counts it', async (t) => {
    const { app } = await startSecure(t, { HEADER_TIMEOUT_MS: '300' });
    assert.doesNotMatch(await exchangeRaw(app.port, 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n'), /200/);
    assert.equal(await exchangeRaw(app.port, ''), '');
    await waitFor('both to be counted', async () => await app.metric('tls_handshakes_failed_total') === 2);
    await waitFor('their connections to be gone', async () => (await app.metric('http_connections_open') ?? 9) <= 2);
  });

  test('lets new connections in while others hang in their handshakes', async (t) => {
    const { app, trusted } = await startSecure(t, { MAX_CONNECTIONS: '3' });
    const silent = Array.from({ length: 6 }, () => connectPlain({ port: app.port, host: '127.0.0.1' }).on('error', () => {}));
    t.after(() => silent.forEach((socket) => socket.destroy()));
    await waitFor('some of them to make room', () => silent.filter(({ destroyed, readyState }) => destroyed || readyState === 'closed').length >= 3);
    assert.equal((await post(app, trusted, 'one')).status, 200);
  });

  test('keeps the limits and the drain of plain HTTP', async (t) => {
    const { app, trusted } = await startSecure(t, { REQUEST_TIMEOUT_MS: '2000', HEADER_TIMEOUT_MS: '2000' });
    const socket = connect({ port: app.port, host: '127.0.0.1', ...trusted });
    t.after(() => void socket.destroy());
    let received = '';
    socket.on('data', (chunk) => { received += String(chunk); }).on('error', () => {});
    socket.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{');
    await waitFor('the refusal', () => received.startsWith('HTTP/1.1 408 '));

    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    assert.equal((await post(app, trusted, 'kept alive', agent)).status, 200);
    assert.deepEqual(await app.stop(), { drained: 0, unanswered: 0, storageClosed: true });
  });

  test('tells the days until its certificate expires', async (t) => {
    const { app, folder, use } = await startSecure(t);
    const days = async () => await app.metric('tls_certificate_expiry_days') ?? NaN;
    assert.ok(Math.abs(await days() - 2) < 0.01);
    use(makeCertificate(folder, 'longer', 30));
    app.reload();
    assert.ok(Math.abs(await days() - 30) < 0.01);
  });

  test('takes a new certificate at a reload, and the connections of before end with their next answer', async (t) => {
    const { app, folder, server, use, trusted } = await startSecure(t);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const before = await post(app, trusted, 'before', agent);
    assert.deepEqual([before.status, before.serverName, before.headers.connection], [200, 'server', 'keep-alive']);

    const renewed = makeCertificate(folder, 'renewed');
    use(renewed);
    app.reload();
    const last = await post(app, trusted, 'last', agent);
    assert.deepEqual([last.status, last.headers.connection], [200, 'close']);
    const after = await post(app, { ca: [readFileSync(renewed.certificate), readFileSync(server.certificate)] }, 'after');
    assert.deepEqual([after.status, after.serverName, after.headers.connection], [200, 'renewed', 'close']);
  });

  test('keeps its certificate where the new files do not fit', async (t) => {
    const { app, folder, inUse, use, server, trusted } = await startSecure(t);
    copyFileSync(makeCertificate(folder, 'half').certificate, inUse.certificate);
    app.reload();
    assert.equal((await post(app, trusted, 'still')).serverName, 'server');
    const line = app.logs.find(({ event }) => event === 'reload_failed');
    assert.deepEqual([line?.['level'], line?.['problems']], ['ERROR', ['TLS_KEY_FILE must be the key of the first certificate in TLS_CERT_FILE']]);
    assert.equal(await app.metric('credentials_reloads_total{outcome="failed"}'), 1);
    use(server);
    app.reload();
    assert.equal(await app.metric('credentials_reloads_total{outcome="ok"}'), 1);
  });
});

describe('TLS connections', { skip }, () => {
  test('that a sender ends with its request get their answer', async (t) => {
    const { app, trusted } = await startSecure(t);
    const body = JSON.stringify(message());
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const plain = connectPlain({ port: app.port, host: '127.0.0.1', allowHalfOpen: true });
      const socket = connect({ socket: plain, ...trusted, minVersion: version, maxVersion: version, checkServerIdentity: () => undefined });
      t.after(() => void socket.destroy());
      let received = '';
      socket.on('data', (chunk) => { received += String(chunk); });
      socket.end(`POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      await waitFor('the end', () => socket.closed);
      assert.match(received, /^HTTP\/1\.1 200 [^]*\{"status":"ok"\}$/, version);
    }
  });

  test('from one port of a client to two addresses of the server are two', async (t) => {
    const { app, trusted } = await startSecure(t, { HOST: '0.0.0.0' });
    const first = connectPlain({ port: app.port, host: '127.0.0.1', localAddress: '127.0.0.1' });
    t.after(() => void first.destroy());
    await waitFor('the first', () => first.readyState === 'open');
    const second = connectPlain({ port: app.port, host: '127.0.0.2', localAddress: '127.0.0.1', localPort: first.localPort ?? 0 });
    t.after(() => void second.destroy());
    await waitFor('the second', () => second.readyState === 'open');
    await waitFor('both', async () => (await app.metric('http_connections_open') ?? 0) >= 3);
    const sockets = [first, second].map((plain) => connect({ socket: plain, ...trusted, checkServerIdentity: () => undefined }));
    await waitFor('both handshakes', () => sockets.every((socket) => socket.authorized));
    for (const socket of sockets) {
      let received = '';
      socket.on('data', (chunk) => { received += String(chunk); });
      socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
      await waitFor('its answer', () => received.startsWith('HTTP/1.1 200 '));
    }
  });
});

describe('client certificates', { skip }, () => {
  async function refused(app: TestApp, tls: ConnectionOptions, reason: string): Promise<void> {
    const answer = await post(app, tls, 'refused');
    assert.deepEqual([answer.status, answer.body], [401, '{"detail":"a certificate of the configured client CA is required"}']);
    const { result, reason: logged, message_id } = app.logs.findLast(({ event }) => event === 'webhook') ?? {};
    assert.deepEqual([result, logged, message_id], ['invalid_client_certificate', reason, null]);
  }

  test('are wanted for the webhook, of that CA, and not for health', async (t) => {
    const { app, folder, ca, server, trusted } = await startSecure(t, {}, true);
    const client = issueCertificate(folder, 'client', ca);
    assert.equal((await post(app, { ...trusted, ...shown(client) }, 'known')).status, 200);
    await refused(app, trusted, 'missing');
    await refused(app, { ...trusted, ...shown(server) }, 'untrusted');
    await refused(app, { ...trusted, ...shown(issueCertificate(folder, 'stranger', makeCertificate(folder, 'other-ca'))) }, 'untrusted');
    assert.equal((await ask(`${app.url}/health/live`, { tls: trusted })).status, 200);
    assert.equal(await app.metric('webhook_requests_total{result="invalid_client_certificate"}'), 3);
    assert.match((await ask(`${app.privateUrl}/messages`)).body, /"total":1/);
  });

  test('are believed from their first to their last moment, also in sessions that are resumed', async (t) => {
    const folder = temporaryFolder(t);
    const [own, ca] = [makeCertificate(folder, 'server'), makeCertificate(folder, 'ca')];
    const client = issueCertificate(folder, 'client', ca);
    const { validFromDate, validToDate } = new X509Certificate(readFileSync(client.certificate));
    const faults: (string | null)[][] = [];
    const server = createServer({ ...shown(own), ca: readFileSync(ca.certificate), requestCert: true, rejectUnauthorized: false }, (socket) => {
      const at = (date: Date, later: number) => clientCertificateFault(socket, date.getTime() + later);
      faults.push([at(validFromDate, -1), at(validFromDate, 0), at(validToDate, 0), at(validToDate, 1)]);
      socket.end('done');
    });
    t.after(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const options = { port, host: '127.0.0.1', ca: readFileSync(own.certificate), minVersion: version, maxVersion: version };
      const first = await readOver({ ...options, ...shown(client) });
      // Without the key: it is in the session.
      const resumed = await readOver({ ...options, session: first.ticket });
      assert.deepEqual([first.reused, resumed.reused], [false, true], version);
    }
    assert.deepEqual(faults, Array.from({ length: 4 }, () => ['expired', null, null, 'expired']));
  });

  test('that have expired in their handshake are told as such', async (t) => {
    const { app, folder, ca, trusted } = await startSecure(t, {}, true);
    await refused(app, { ...trusted, ...shown(issueCertificate(folder, 'expired', ca, 0)) }, 'expired');
  });

  test('are not made up for by a session that was resumed', async (t) => {
    const { app, trusted } = await startSecure(t, {}, true);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const options = { ...trusted, port: app.port, host: '127.0.0.1', minVersion: version, maxVersion: version };
      const session = await requestOver(options);
      assert.match(session.answer, /^HTTP\/1\.1 401 /);
      const resumed = await requestOver({ ...options, session: session.ticket });
      assert.deepEqual([resumed.reused, resumed.answer.slice(0, 13)], [true, 'HTTP/1.1 401 '], version);
    }
  });

  test('of a CA that a reload took away do not last by sending ahead', async (t) => {
    const { app, folder, ca, server, use, trusted } = await startSecure(t, {}, true);
    const socket = connect({ port: app.port, host: '127.0.0.1', ...trusted, ...shown(issueCertificate(folder, 'client', ca)) });
    t.after(() => void socket.destroy());
    let received = '';
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('data', (chunk) => { received += String(chunk); }).on('error', () => {});
    const answers = () => received.match(/HTTP\/1\.1 200 /g)?.length ?? 0;
    const request = (id: number) => {
      const body = JSON.stringify(message({ message_id: `ahead ${id}` }));
      return { head: `POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n`, body };
    };
    socket.write(request(0).head + request(0).body + request(1).head);
    await waitFor('the first answer', () => answers() === 1);
    use(server, makeCertificate(folder, 'other-ca'));
    app.reload();
    for (let id = 1; id < 6 && socket.writable; id += 1) {
      socket.write(request(id).body + request(id + 1).head);
      await waitFor('an answer, or the end', () => answers() > id || socket.destroyed);
    }
    await closed;
    assert.equal(answers(), 2);
  });

  test('of a CA that a reload took away are refused, also in sessions that are resumed', async (t) => {
    const { app, folder, ca, server, use, trusted } = await startSecure(t, {}, true);
    const client = { ...trusted, ...shown(issueCertificate(folder, 'client', ca)) };
    const options = { ...client, port: app.port, host: '127.0.0.1' };
    const session = await requestOver(options);
    assert.match(session.answer, /^HTTP\/1\.1 200 /);
    const otherCa = makeCertificate(folder, 'other-ca');
    use(server, otherCa);
    app.reload();
    await refused(app, client, 'untrusted');
    assert.match((await requestOver({ ...options, session: session.ticket })).answer, /^HTTP\/1\.1 401 /);
    assert.equal((await post(app, { ...trusted, ...shown(issueCertificate(folder, 'new', otherCa)) }, 'new')).status, 200);
  });
});

/** Reads one TLS connection to its end; tells whether its session was resumed, and the ticket for the next. */
function readOver(options: ConnectionOptions): Promise<{ reused: boolean; ticket: Buffer }> {
  return new Promise((resolve, reject) => {
    let ticket: Buffer = Buffer.alloc(0);
    let reused = false;
    const socket = connect(options).on('session', (session) => { ticket = session; }).on('error', reject);
    socket.on('secureConnect', () => { reused = socket.isSessionReused(); });
    socket.resume().on('close', () => resolve({ reused, ticket }));
  });
}

/** Sends one signed message over a TLS connection of its own; tells whether its session was resumed, and the ticket for the next. */
function requestOver(options: ConnectionOptions): Promise<{ answer: string; reused: boolean; ticket: Buffer }> {
  const body = JSON.stringify(message());
  return new Promise((resolve, reject) => {
    let answer = '';
    let ticket: Buffer = Buffer.alloc(0);
    const socket = connect(options).on('session', (session) => { ticket = session; }).on('error', reject);
    socket.on('data', (chunk) => { answer += String(chunk); });
    socket.on('close', () => resolve({ answer, reused, ticket }));
    let reused = false;
    socket.on('secureConnect', () => {
      reused = socket.isSessionReused();
      socket.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
}
