import { request, type Agent, type IncomingHttpHeaders } from 'node:http';
import { request as requestSecurely } from 'node:https';
import type { SecureContextOptions, TLSSocket } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The common name in the certificate that the server showed. */
  readonly serverName: string | undefined;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What fetch does not take: whom to trust, and which certificate to show. */
  readonly tls?: SecureContextOptions;
  /** Without one, each request has a connection of its own. */
  readonly agent?: Agent;
}

/** Sends one request over http or https; rejects where the connection fails. */
export function ask(url: string, { method = 'GET', headers = {}, body = '', tls = {}, agent }: RequestOptions = {}): Promise<Answer> {
  const start = url.startsWith('https:') ? requestSecurely : request;
  return new Promise((resolve, reject) => {
    const all = { ...headers, ...(body !== '' && { 'Content-Length': String(Buffer.byteLength(body)) }) };
    start(url, { method, headers: all, agent: agent ?? false, ...tls }, (response) => {
      const socket = response.socket as Partial<TLSSocket>;
      const serverName = socket.getPeerCertificate?.().subject?.CN;
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += String(chunk); }).on('error', reject).on('end', () =>
        resolve({
          status: response.statusCode ?? 0, headers: response.headers, body: text,
          serverName: Array.isArray(serverName) ? serverName[0] : serverName,
        }));
    }).on('error', reject).end(body);
  });
}
