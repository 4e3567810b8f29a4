/** The command that sends a test message, signed as this service wants it. */
import { request } from './api.js';
import { copy } from './clipboard.js';
import { element } from './dom.js';

const command = element('command', HTMLElement);
const note = element('sending-note', HTMLElement);
const copied = element('copied', HTMLElement);

/**
 * @typedef {object} WebhookAddress
 * @property {number | null} port
 * @property {boolean} tls
 * @property {string[]} schemes
 */

/** Asks how to send, shows the command, and returns the schemes that are accepted. Rejects with Refused. */
export async function showCommand() {
  /** @type {WebhookAddress} */
  const { port, tls, schemes } = await (await request('dashboard/webhook.json')).json();
  const url = new URL('webhook', document.baseURI);
  if (port !== null) {
    url.protocol = tls ? 'https:' : 'http:';
    url.port = String(port);
    note.textContent = ' The webhook has a port of its own: where that is reached by another name, put it in.';
  }
  command.textContent = inSubshell(schemes.includes('x-signature') ? withXSignature(url.href) : withStandardWebhooks(url.href));
  return schemes;
}

/**
 * In a shell of its own, which ends where the secret is not set: one that is typed into goes on with the next line.
 * @param {string} lines
 */
const inSubshell = (lines) => `(: "\${WEBHOOK_SECRET:?set it to the secret of the service first}"
${lines})`;

const BODY = `body='{"message_id":"test-'$(date +%s)'","from":"+919876543210","to":"+14155550100",'
body=$body'"ts":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'","text":"Hello from curl"}'`;

/** @param {string} url */
const withXSignature = (url) => `${BODY}
signature=$(printf '%s' "$body" | openssl dgst -sha256 -hmac "$WEBHOOK_SECRET" | sed 's/^.* //')
curl -i -H "X-Signature: $signature" --data-binary "$body" ${url}`;

/** @param {string} url */
const withStandardWebhooks = (url) => `${BODY}
id=msg_$(date +%s); time=$(date +%s)
case $WEBHOOK_SECRET in
  whsec_*) base64=\${WEBHOOK_SECRET#whsec_}
    while [ $((\${#base64} % 4)) -ne 0 ]; do base64=$base64=; done
    key=$(printf '%s' "$base64" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n') ;;
  *) key=$(printf '%s' "$WEBHOOK_SECRET" | od -An -v -tx1 | tr -d ' \\n') ;;
esac
signature=$(printf '%s' "$id.$time.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
curl -i -H "webhook-id: $id" -H "webhook-timestamp: $time" -H "webhook-signature: v1,$signature" --data-binary "$body" ${url}`;

element('copy', HTMLButtonElement).addEventListener('click', () => void copy(command.textContent ?? '', command, copied));
