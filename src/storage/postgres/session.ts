import type { Socket } from 'node:net';
import { ConnectionFailed, LoginRefused, PostgresError } from './failures.ts';
import { createDecoder, encodeTerminate, ProtocolViolation, type BackendMessage } from './protocol.ts';

const GOODBYE_MS = 1000;
/** Of notices and settings that nobody asked for, in one run or between two. */
const MAX_UNASKED = 1000;
const MAX_PARAMETERS = 200;

interface Waiter {
  take(message: BackendMessage): void;
  reject(error: Error): void;
}

/** All that goes over one socket: what is asked and answered, one thing at a time, and what comes unasked. */
export interface Session {
  /** Settings that the server reports, by name, kept up to date. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Resolves with the reason once the session is of no use any more. Never rejects. */
  readonly closed: Promise<ConnectionFailed>;
  /**
   * Sends `bytes`, and resolves with what `take` makes of the messages that come, once it is not undefined. Throws ConnectionFailed where
   * nothing could be sent. A ProtocolViolation, a LoginRefused or a PostgresError that `take` throws ends the session, and so does
   * `timeoutMs` when it has passed: it rejects then, with the latter two as they are, with ConnectionFailed otherwise.
   */
  exchange<Value>(bytes: Buffer, timeoutMs: number, take: (message: BackendMessage) => Value | undefined): Promise<Value>;
  /** Sends more while `exchange` waits. */
  send(bytes: Buffer): void;
  /** Destroys the socket; who waits gets the error. */
  fail(error: Error): void;
  /** Says goodbye, and resolves once the socket is closed, in a second at most. Who waits gets ConnectionFailed. */
  close(): Promise<void>;
}

const asFailure = (error: Error) => (error instanceof ConnectionFailed ? error : new ConnectionFailed(error.message, { cause: error }));
/** Errors that say more to who waits than that the connection is lost. */
const isTold = (error: unknown) => error instanceof LoginRefused || error instanceof PostgresError;

/** Takes messages until something is made of them. */
function createWaiter<Value>(
  made: (message: BackendMessage) => Value | undefined, done: (value: Value) => void, reject: (error: Error) => void,
): Waiter {
  return {
    reject,
    take(message) {
      const value = made(message);
      if (value !== undefined) done(value);
    },
  };
}

/** Settings and notices, which a server may send at any time, but not without end. */
function createUnasked() {
  const parameters = new Map<string, string>();
  let count = 0;

  return {
    parameters,
    restart(): void {
      count = 0;
    },
    take(message: BackendMessage): void {
      if (message.type === 'ParameterStatus') parameters.set(message.name, message.value);
      count += 1;
      const isEndless = count > MAX_UNASKED || parameters.size > MAX_PARAMETERS;
      if (isEndless) throw new ProtocolViolation('the server goes on sending what nobody asked for');
    },
  };
}

/** Resolves once the socket is closed, in order or, in the end, without. */
async function sayGoodbye(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    socket.destroy();
    resolve();
  }, GOODBYE_MS);
  socket.once('close', resolve).end(encodeTerminate());
  await promise;
  clearTimeout(timer);
}

/** `notified`: gets the channel and the payload of each NOTIFY. */
export function createSession(socket: Socket, notified: (channel: string, payload: string) => void): Session {
  const unasked = createUnasked();
  const { promise: closed, resolve: tell } = Promise.withResolvers<ConnectionFailed>();
  let failure: ConnectionFailed | null = null;
  let waiter: Waiter | null = null;
  let goodbye: Promise<void> | null = null;

  /** The first reason is the one that counts. */
  function end(error: Error): void {
    if (failure !== null) return;
    failure = asFailure(error);
    waiter?.reject(isTold(error) ? error : failure);
    waiter = null;
    tell(failure);
  }

  function fail(error: Error): void {
    end(error);
    socket.destroy();
  }

  function take(message: BackendMessage): void {
    if (message.type === 'NotificationResponse') return notified(message.channel, message.payload);
    if (message.type === 'ParameterStatus' || message.type === 'NoticeResponse') unasked.take(message);
    if (message.type === 'ParameterStatus') return;
    if (waiter !== null) return waiter.take(message);
    if (message.type === 'ErrorResponse') throw new PostgresError(message.report);
    if (message.type !== 'NoticeResponse') throw new ProtocolViolation('the server sends a message that was never asked for');
  }

  receiveFrom(socket, { isOpen: () => failure === null, take, fail });

  return {
    parameters: unasked.parameters, closed, fail,
    send: (bytes) => void socket.write(bytes),
    exchange: <Value>(bytes: Buffer, timeoutMs: number, made: (message: BackendMessage) => Value | undefined) => {
      if (failure !== null) throw new ConnectionFailed(failure.message, { cause: failure });
      const { promise, resolve, reject } = Promise.withResolvers<Value>();
      const timer = setTimeout(() => fail(new ConnectionFailed('the server did not answer in time')), Math.max(0, timeoutMs));
      unasked.restart();
      const done = (value: Value) => {
        waiter = null;
        unasked.restart();
        resolve(value);
      };
      waiter = createWaiter(made, done, reject);
      socket.write(bytes);
      return promise.finally(() => clearTimeout(timer));
    },
    close: async () => {
      if (failure === null) {
        end(new ConnectionFailed('closed on this side'));
        goodbye = sayGoodbye(socket);
      }
      await goodbye;
    },
  };
}

interface Receiver {
  isOpen(): boolean;
  take(message: BackendMessage): void;
  fail(error: Error): void;
}

/** Hands on what comes in, and that nothing more will. */
function receiveFrom(socket: Socket, { isOpen, take, fail }: Receiver): void {
  const decode = createDecoder();
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const message of decode(chunk)) {
        if (!isOpen()) return;
        take(message);
      }
    } catch (error) {
      if (!(error instanceof ProtocolViolation || isTold(error))) throw error;
      fail(error);
    }
  });
  socket.on('error', (error) => fail(new ConnectionFailed('the connection is lost', { cause: error })));
  for (const event of ['end', 'close']) socket.on(event, () => fail(new ConnectionFailed('the server closed the connection')));
}
