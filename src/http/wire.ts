import { STATUS_CODES } from 'node:http';
import type { Reply, WholeReply } from './reply.ts';

/** The headers of an answer as node:http takes them raw: name, value, name, value. Every answer has the first three. */
export function replyHeaders(reply: Reply, requestId: string, close: boolean): string[] {
  const headers = [
    'X-Request-ID', requestId,
    'Cache-Control', 'no-store',
    'X-Content-Type-Options', 'nosniff',
  ];
  if (typeof reply.body === 'string') headers.push('Content-Length', String(Buffer.byteLength(reply.body)));
  for (const name in reply.headers) headers.push(name, reply.headers[name] ?? '');
  if (close) headers.push('Connection', 'close');
  return headers;
}

/** A whole answer as bytes, for a request that node:http could not read and so gives no response object to. */
export function serializeReply(reply: WholeReply, requestId: string): string {
  const headers = replyHeaders(reply, requestId, true);
  let head = `HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status] ?? ''}\r\nDate: ${new Date().toUTCString()}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n${reply.body}`;
}
