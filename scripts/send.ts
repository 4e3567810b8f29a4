/** Signs a message and sends it to a running server: `make send ARGS="--help"`. */
import { createHmac, randomUUID } from 'node:crypto';
import { parseArgs, type ParseArgsConfig } from 'node:util';

const HELP = `Signs and sends a message to a running webhook-inbox and prints the answer.

  --url URL          where the server is (default http://127.0.0.1:8000, or the PORT in the environment)
  --secret SECRET    the HMAC secret (default: the variable WEBHOOK_SECRET)
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

async function send(body: string): Promise<boolean> {
  const signature = createHmac('sha256', options.secret).update(body).digest('hex');
  const response = await fetch(new URL('/webhook', options.url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Signature': `sha256=${signature}` },
    body,
  });
  console.log(`${response.status} ${await response.text()}`);
  return response.ok;
}

if (options.help) {
  console.log(HELP);
  process.exit(0);
}
if (options.secret === '') fail('give --secret or set WEBHOOK_SECRET');
if (!URL.canParse(options.url)) fail('--url must be a URL such as http://127.0.0.1:8000');
const count = atLeastOne('count', options.count);
const repeat = atLeastOne('repeat', options.repeat);

try {
  for (let sent = 0; sent < count; sent += 1) {
    const given = options.id === undefined ? randomUUID() : options.id;
    const message_id = count > 1 && options.id !== undefined ? `${given}-${sent + 1}` : given;
    const body = JSON.stringify({ message_id, from: options.from, to: options.to, ts: options.ts, text: options.text });
    for (let again = 0; again < repeat; again += 1) {
      if (!(await send(body))) process.exitCode = 1;
    }
  }
} catch (error) {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
  console.error(`no answer from ${options.url}: ${cause}`);
  process.exitCode = 1;
}
