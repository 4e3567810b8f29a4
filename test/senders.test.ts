/** The page for senders, scripts/senders/README.md: each of its programs as it stands there, and each of its traps with the answer that it gets. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { startTestApp, type TestApp } from './support/app.ts';
import { hasOpenssl, makeCertificate } from './support/certificates.ts';
import { message, SECRET, sign } from './support/messages.ts';
import { exchangeRaw } from './support/raw-http.ts';
import { CHECKOUT } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';

const PAGE = readFileSync(join(CHECKOUT, 'scripts/senders/README.md'), 'utf8');
const TEXT = 'Grüße aus Köln 👋';

function partOf(heading: string): string {
  const part = PAGE.split('\n## ').find((found) => found.startsWith(`${heading}\n`));
  assert.ok(part, `the page has ${heading}`);
  return part;
}

/** What each program needs, by its heading: commands that succeed where it is installed. */
const LANGUAGES: Readonly<Record<string, readonly (readonly [command: string, ...args: string[]])[]>> = {
  Python: [['python3', '--version']],
  'Node.js': [['node', '--version']],
  Go: [['go', 'version']],
  Java: [['java', '--version']],
  PHP: [['php', '--version']],
  'openssl and curl': [['openssl', 'version'], ['curl', '--version']],
};
const LEAST_JAVA = 17;

/** The machine's own tools first; its Node.js may be the one that runs this alone. */
const PATH = [process.env['PATH'], dirname(process.execPath)].join(delimiter);

/** Why a program cannot be run here; false where it can. */
function whyNot(heading: string): string | false {
  for (const [command, ...args] of LANGUAGES[heading] ?? []) {
    const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, PATH } });
    if (status !== 0) return `${command} is not installed here`;
    if (command === 'java' && Number(/\d+/.exec(stdout)?.[0]) < LEAST_JAVA) return `java is older than ${LEAST_JAVA} here`;
  }
  return false;
}

/** A program of the page, and how its first line says that it is called. */
function programOf(heading: string) {
  const [, program = ''] = /^```\w+\n(.*?)^```$/ms.exec(partOf(heading)) ?? [];
  const [firstLine = ''] = program.split('\n');
  const [, commandLine = ''] = / WEBHOOK_SECRET=your-secret (\S.*) http:\/\/127\.0\.0\.1:8000$/.exec(firstLine) ?? [];
  const [command = '', ...args] = commandLine.split(' ');
  return { program, command, args, file: args.at(-1) ?? '' };
}

describe('a sender in', () => {
  for (const heading of Object.keys(LANGUAGES)) {
    test(`${heading}, as the page has it and with its default client, is accepted`, { skip: whyNot(heading) }, async (t) => {
      const folder = temporaryFolder(t);
      const app = await startTestApp(t);
      const { program, command, args, file } = programOf(heading);
      writeFileSync(join(folder, file), program);
      const env = {
        PATH, HOME: process.env['HOME'], LC_ALL: 'C.UTF-8', WEBHOOK_SECRET: SECRET,
        GOFLAGS: '-mod=mod', GOPROXY: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0',
      };
      const { stdout, stderr } = await promisify(execFile)(command, [...args, app.url], { cwd: folder, env, signal: t.signal });
      assert.match(stdout, /^(?:200 \{"status":"ok"\}|\{"status":"ok"\} 200)\n$/, stderr);
      const { items }: { items: Record<string, string>[] } = JSON.parse(await (await app.get('/messages')).text());
      assert.deepEqual(items.map(({ from, to, text }) => [from, to, text]), [['+919876543210', '+14155550100', TEXT]]);
      assert.ok(Math.abs(Date.parse(items[0]?.['ts'] ?? '') - Date.now()) < 5 * 60_000);
      assert.equal(await app.metric('webhook_requests_total{result="ok"}'), 1);
    });
  }
});

/** Status and body of an answer, as the table of the page has them. */
type Row = readonly [status: string, body: string];

const rowOf = async (response: Response): Promise<Row> => [String(response.status), `\`${await response.text()}\``];

const BODY = JSON.stringify(message({ text: TEXT }), null, 1);

/** Sends a message with one field replaced by what a row has in it, as `"name":value`. */
async function sendField(app: TestApp, sent: string): Promise<Row> {
  const field: Readonly<Record<string, unknown>> = JSON.parse(`{${/^`(.*?)`/.exec(sent)?.[1]}}`);
  return rowOf(await app.post(JSON.stringify({ ...message(), ...field })));
}

const signedWith = (signature: string) => async (app: TestApp) => rowOf(await app.post(BODY, { 'X-Signature': signature }));

/** How each row of the table is sent, by how it begins. */
const SENT: readonly (readonly [begins: string, send: (app: TestApp, sent: string) => Promise<Row>])[] = [
  ['`"ts":"2025-01-15T10:00:00.123456"`', sendField],
  ['`"ts":"2025-01-15T10:00:00+00:00"`', sendField],
  ['`"ts":"2025-01-15T15:30:00+05:30"`', sendField],
  ['`"ts":1736935200`', sendField],
  ['`"from":"919876543210"`', sendField],
  ['A body that is serialised again', async (app) => rowOf(await app.post(JSON.stringify(JSON.parse(BODY)), { 'X-Signature': sign(BODY) }))],
  ['A signature of the body as text of another encoding', signedWith(sign(Buffer.from(BODY, 'latin1')))],
  ['A signature of the body with a newline', signedWith(sign(`${BODY}\n`))],
  ['A signature under the secret with the newline', signedWith(sign(BODY, `${SECRET}\n`))],
  ['A signature in base64', signedWith(Buffer.from(sign(BODY), 'hex').toString('base64'))],
  ['A signature in another header', async (app) =>
    rowOf(await fetch(`${app.url}/webhook`, { method: 'POST', body: BODY, headers: { 'X-Hub-Signature-256': `sha256=${sign(BODY)}` } }))],
  ['`POST /webhook/`', async (app) => rowOf(await fetch(`${app.url}/webhook/`, { method: 'POST', body: BODY, headers: { 'X-Signature': sign(BODY) } }))],
  ['`GET /webhook`', async (app) => rowOf(await app.get('/webhook', { headers: { 'X-Signature': sign(BODY) } }))],
  ['A compressed body', async (app) => rowOf(await app.post(new Uint8Array(gzipSync(BODY)), { 'Content-Encoding': 'gzip' }))],
  ['`http://` to the port that speaks TLS', async (app) => {
    const head = `POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-Signature: ${sign(BODY)}\r\nContent-Length: ${Buffer.byteLength(BODY)}\r\n\r\n`;
    const received = await exchangeRaw(app.port, head + BODY);
    return received === '' ? ['none', 'the connection is closed'] : ['some', received];
  }],
];

const plain = await startTestApp({ after });
const secure = hasOpenssl ? await startSecure() : null;

function startSecure(): Promise<TestApp> {
  const { certificate, key } = makeCertificate(temporaryFolder({ after }), 'server');
  return startTestApp({ after }, { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key });
}

describe('a trap of the page', () => {
  const rows = partOf('Traps').split('\n').filter((line) => line.startsWith('| ')).slice(2)
    .map((line) => line.slice(2, -2).split(/(?<!\\) \| /));

  test('is each one that is sent here, in that order', () => {
    assert.equal(rows.length, SENT.length);
    rows.forEach(([sent = ''], index) => assert.ok(sent.startsWith(SENT[index]?.[0] ?? '?'), sent));
  });

  for (const [begins, send] of SENT) {
    const app = begins.includes('TLS') ? secure : plain;
    test(`gets the answer that stands there: ${begins}`, { skip: app === null && 'openssl is not installed here' }, async () => {
      const [sent = '', status, body] = rows.find(([found]) => found?.startsWith(begins)) ?? [];
      if (app !== null) assert.deepEqual(await send(app, sent), [status, body]);
    });
  }

  test('is what the answer is for: without any the same message is accepted', async () => {
    assert.equal((await plain.post(BODY)).status, 200);
  });
});
