/** How a connection ends whose client may still be sending: closed at once it is reset, and its last answer lost (RFC 9112 section 9.6). */
import type { Socket } from 'node:net';

/** Bytes and time granted to a client that is still sending when it has its last answer. */
const LINGER_BYTES = 16 * 1024 * 1024;
const LINGER_MS = 5000;

/**
 * Has `destroySoon`, by which node:http ends a connection after its last answer, close this side alone at first. The client has
 * `LINGER_MS` milliseconds to read that and to close its own.
 */
export function lingerAtEnd(socket: Socket): void {
  let isEnding = false;
  socket.destroySoon = () => {
    if (isEnding) return;
    isEnding = true;
    const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
    socket.once('close', () => clearTimeout(timer)).end();
    dropInput(socket);
  };
}

/** From now on what comes is read, up to `LINGER_BYTES`, and dropped, so that the end behind it is seen. No request is read any more. */
export function dropInput(socket: Socket): void {
  const limit = socket.bytesRead + LINGER_BYTES;
  // What holds the reading up, or takes bytes for requests, listens to these.
  socket.removeAllListeners('data').removeAllListeners('resume');
  socket.on('data', () => { if (socket.bytesRead > limit) socket.destroy(); }).resume();
  // Where node:http had it paused, its own reading goes on only so: to the stream it never stopped.
  socket._read(0);
}
