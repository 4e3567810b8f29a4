/**
 * When a request of a connection is begun. node:http reads requests ahead and keeps their answers in memory until the client takes
 * them; its own back-pressure counts only answers that were written, and lets small requests come in without end.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { ByteBudget } from './byte-budget.ts';
import type { OpenExchange } from './exchange.ts';
import { stopParsing } from './parser.ts';

/** Bytes of answers that have not left the process, past which a connection has no more requests begun. */
const UNREAD_BYTES = 256 * 1024;
/** About what a request takes of memory with all that belongs to it, beside the content of its answer. */
const REQUEST_BYTES = 4096;

/** The requests of one connection, in their order. */
export interface Turns {
  /** Calls `start` as soon as the answers before it leave room for that of this request. */
  inTurn(exchange: OpenExchange, start: () => void): void;
  /** The answer has so many bytes of content; null where it is written on for as long as it likes. */
  answered(exchange: OpenExchange, contentBytes: number | null): void;
  /** The answer has left the process. */
  left(exchange: OpenExchange): void;
  /** A request came that will never be begun: nothing more is read, and nothing that was read is parsed. */
  surplus(): void;
  /** Goes on with the connection as another socket. */
  moveTo(socket: Socket): void;
  /** The connection has ended. */
  end(): void;
}

/** An answer to these is as long as what was asked for; to another one it says how it went. */
const asksForContent = ({ method }: IncomingMessage) => method === 'GET' || method === 'HEAD';

export function createTurns(socket: Socket, budget: ByteBudget): Turns {
  const intake = createIntake(socket);
  /** Begun, may have a long answer, and that is not known yet, or never ends. */
  let unknown: OpenExchange | null = null;
  let surplusCame = false;
  const waiting: { readonly exchange: OpenExchange; readonly start: () => void }[] = [];
  const unread: { readonly exchange: OpenExchange; readonly contentBytes: number }[] = [];
  let unreadBytes = 0;
  const share = budget.open(intake.destroy);

  const beginNext = () => {
    while (unknown === null && unreadBytes < UNREAD_BYTES && intake.isOpen()) {
      const next = waiting.shift();
      if (next === undefined) break;
      share.change(-REQUEST_BYTES);
      if (asksForContent(next.exchange.request)) unknown = next.exchange;
      next.start();
    }
    intake.readOn(waiting.length === 0 && !surplusCame);
  };
  const count = (answers: 1 | -1, contentBytes: number) => {
    unreadBytes += answers * contentBytes;
    share.change(answers * (REQUEST_BYTES + contentBytes));
    beginNext();
  };

  return {
    inTurn(exchange, start) {
      waiting.push({ exchange, start });
      share.claim(REQUEST_BYTES);
      beginNext();
    },
    answered(exchange, contentBytes) {
      if (contentBytes === null) return;
      if (unknown === exchange) unknown = null;
      unread.push({ exchange, contentBytes });
      count(1, contentBytes);
    },
    left(exchange) {
      if (unknown === exchange) unknown = null;
      const index = unread.findIndex((answer) => answer.exchange === exchange);
      const [answer] = index === -1 ? [] : unread.splice(index, 1);
      if (answer === undefined) beginNext();
      else count(-1, answer.contentBytes);
    },
    surplus() {
      surplusCame = true;
      share.claim(REQUEST_BYTES);
      intake.readOn(false);
      intake.stop();
    },
    moveTo: intake.moveTo,
    end: share.end,
  };
}

/** Whether a socket is read. node:http resumes it when it likes; paused again before that event is over, it lets nothing in. */
function createIntake(firstSocket: Socket) {
  let socket = firstSocket;
  let isReading = true;
  const hold = () => { if (!isReading) socket.pause(); };
  socket.on('resume', hold);

  return {
    readOn(wanted: boolean): void {
      if (isReading === wanted) return;
      isReading = wanted;
      if (wanted) socket.resume();
      else socket.pause();
    },
    moveTo(other: Socket): void {
      socket = other.on('resume', hold);
    },
    isOpen: () => !socket.destroyed,
    stop: () => stopParsing(socket),
    destroy() {
      stopParsing(socket);
      socket.destroy();
    },
  };
}
