/** Signs a message and sends it to a running server: `make send ARGS="--help"`. */
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestSecurely } from 'node:https';
import { parseArgs, type ParseArgsConfig } from 'node:util';

const HELP = `Signs and sends a message to a running webhook-inbox and prints the answer.

  --url URL          where the server is, with a path where a proxy has it below one (default http://127.0.0.1:8000, or the PORT in the
                     environment)
  --secret SECRET    the secret (default: the variable WEBHOOK_SECRET)
  --scheme SCHEME    how to sign: x-signature (default) or standard-webhooks
  --ca FILE          PEM certificate to trust for an https URL, such as one that you made yourself
  --cert FILE        PEM client certificate to show, with --key FILE
  --id ID            message_id (default: a new random one)
  --from NUMBER      sender (default +919876543210)
  --to NUMBER        recipient (default +14155550100)
  --ts TIME          time (default: now)
  --text TEXT        text (default "Hello")
  --count N          how many messages, each with an id of its own (default 1)
  --repeat N         how often each is sent, with the same id (default 1)
`;

const { values: options } = readOptions({
  options: {
    help: { type: 'boolean', default: false },
    url: { type: 'string', default: `http://127.0.0.1:${process.env['PORT'] ?? '8000'}` },
    secret: { type: 'string', default: process.env['WEBHOOK_SECRET'] ?? '' },
    scheme: { type: 'string', default: 'x-signature' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    id: { type: 'string' },
    from: { type: 'string', default: '+919876543210' },
    to: { type: 'string', default: '+14155550100' },
    ts: { type: 'string', default: new Date().toISOString() },
    text: { type: 'string', default: 'Hello' },
    count: { type: 'string', default: '1' },
    repeat: { type: 'string', default: '1' },
  },
});

function readOptions<const Expected extends ParseArgsConfig>(expected: Expected) {
  try {
    return parseArgs(expected);
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function fail(problem: string): never {
  console.error(`${problem}\n\n${HELP}`);
  process.exit(1);
}

function atLeastOne(name: string, text: string): number {
  return /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : fail(`--${name} must be a whole number from 1`);
}

function fileOf(name: 'ca' | 'cert' | 'key'): Buffer | undefined {
  const path = options[name];
  try {
    return path === undefined ? undefined : readFileSync(path);
  } catch {
    return fail(`--${name} must be a file that you can read`);
  }
}

type Headers = Readonly<Record<string, string>>;

const SCHEMES = new Map<string, (body: string) => Headers>([
  ['x-signature', (body) => ({ 'X-Signature': `sha256=${createHmac('sha256', options.secret).update(body).digest('hex')}` })],
  ['standard-webhooks', (body) => {
    const key = options.secret.startsWith('whsec_') ? Buffer.from(options.secret.slice('whsec_'.length), 'base64') : options.secret;
    const id = `msg_${randomUUID()}`;
    const timestamp = String(Math.floor(Date.now() / 1000));
    const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
    return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
  }],
]);

/** Sends one body and prints the answer; resolves with whether it was accepted, rejects where none came. */
function send(url: URL, tls: object, headers: Headers, body: string): Promise<boolean> {
  const start = url.protocol === 'https:' ? requestSecurely : request;
  return new Promise((resolve, reject) => {
    const all = { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)), ...headers };
    start(url, { method: 'POST', headers: all, ...tls }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += String(chunk); }).on('error', reject).on('end', () => {
        console.log(`${response.statusCode} ${text}`);
        resolve(response.statusCode === 200);
      });
    }).on('error', reject).end(body);
  });
}

if (options.help) {
  console.log(HELP);
  process.exit(0);
}
if (options.secret === '') fail('give --secret or set WEBHOOK_SECRET');
if (!URL.canParse(options.url) || !/^https?:/.test(options.url)) fail('--url must be a URL such as http://127.0.0.1:8000');
if ((options.cert === undefined) !== (options.key === undefined)) fail('give --cert and --key together');
const sign = SCHEMES.get(options.scheme) ?? fail(`--scheme must be one of ${[...SCHEMES.keys()].join(', ')}`);
const tls = { ca: fileOf('ca'), cert: fileOf('cert'), key: fileOf('key') };
const count = atLeastOne('count', options.count);
const repeat = atLeastOne('repeat', options.repeat);

try {
  for (let sent = 0; sent < count; sent += 1) {
    const given = options.id === undefined ? randomUUID() : options.id;
    const message_id = count > 1 && options.id !== undefined ? `${given}-${sent + 1}` : given;
    const body = JSON.stringify({ message_id, from: options.from, to: options.to, ts: options.ts, text: options.text });
    for (let again = 0; again < repeat; again += 1) {
      if (!(await send(new URL(options.url.replace(/\/?$/, '/webhook')), tls, sign(body), body))) process.exitCode = 1;
    }
  }
} catch (error) {
  // Where a name has several addresses, the message of the whole is empty.
  const causes = error instanceof AggregateError ? error.errors : [error];
  console.error(`no answer from ${options.url}: ${causes.map((cause) => (cause instanceof Error ? cause.message : String(cause))).join('; ')}`);
  process.exitCode = 1;
}
