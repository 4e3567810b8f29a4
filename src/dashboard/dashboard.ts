/** The operator's page: its files as they are in `page/`, read once, and what it has to know of this service. It holds no data. */
import { readFileSync } from 'node:fs';
import type { SchemeName } from '../config/settings.ts';
import { jsonReply, type Reply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';

/** How to send to this service, for the command that the page shows. */
export interface WebhookAddress {
  /** Null where it is that of the page. */
  readonly port: number | null;
  readonly tls: boolean;
  readonly schemes: readonly SchemeName[];
}

const CONTENT_TYPES = {
  html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8', svg: 'image/svg+xml',
};
type Extension = keyof typeof CONTENT_TYPES;

const FILES: readonly (readonly [name: string, extension: Extension])[] = [
  ['style', 'css'], ['icon', 'svg'],
  ...[
    'main', 'address', 'api', 'causes', 'clipboard', 'detail', 'dom', 'filters', 'messages', 'navigation', 'overview', 'refusals', 'row',
    'rows', 'sender', 'sending', 'service', 'stream', 'time', 'token',
  ].map((name) => [name, 'js'] as const),
];

/**
 * Scripts, styles and data from here alone, nothing inline, no text made into markup, in nobody's frame, and no address handed on
 * (https://www.w3.org/TR/CSP3/, https://owasp.org/www-project-secure-headers/).
 */
const SECURITY_HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "base-uri 'none'",
    "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
  ].join('; '),
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

function readPageFile(name: string, extension: Extension): Reply {
  const body = readFileSync(new URL(`./page/${name}.${extension}`, import.meta.url), 'utf8');
  return { status: 200, headers: { 'Content-Type': CONTENT_TYPES[extension], ...SECURITY_HEADERS }, body };
}

/** The handler of each path of the page. Throws where a file of it is missing. */
export function createDashboard(webhook: () => WebhookAddress): ReadonlyMap<string, Handler> {
  const page = readPageFile('index', 'html');
  const files = FILES.map(([name, extension]): [string, Handler] => {
    const file = readPageFile(name, extension);
    return [`/dashboard/${name}.${extension}`, () => file];
  });
  return new Map<string, Handler>([
    ['/', () => page],
    ...files,
    ['/dashboard/webhook.json', () => jsonReply(200, webhook(), SECURITY_HEADERS)],
  ]);
}
